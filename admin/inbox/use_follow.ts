/** Keeps the end of a conversation in view while the reader is there, and the place while they are elsewhere. */

import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

/** So near the end (px) the reader follows what comes; so near the beginning older messages are wanted. */
const NEAR = 48;

interface Follow {
  place: { current: HTMLDivElement | null };
  onScroll: () => void;
  /** Something new stands below what is seen. */
  behind: boolean;
  toEnd: () => void;
}

/**
 * `first` is the key of the first thing shown, `count` how many there are, `own` changes when the reader themselves says
 * something: then they want to see it.
 */
export function useFollow(first: string | undefined, count: number, own: string | undefined, onTop: () => void): Follow {
  const place = useRef<HTMLDivElement | null>(null);
  const following = useRef(true);
  const was = useRef({ first, count, own, height: 0 });
  const [behind, setBehind] = useState(false);

  const toEnd = useCallback(() => {
    following.current = true;
    setBehind(false);
    const element = place.current;
    if (element) element.scrollTop = element.scrollHeight;
  }, []);

  const onScroll = () => {
    const element = place.current;
    if (!element) return;
    const { scrollHeight, scrollTop, clientHeight } = element;
    following.current = scrollHeight - scrollTop - clientHeight < NEAR;
    if (following.current) setBehind(false);
    else if (scrollTop < NEAR) onTop();
  };

  // After each drawing: an answer that streams makes the end move.
  useLayoutEffect(() => {
    const element = place.current;
    if (!element) return;
    const old = was.current;
    if (following.current || (own !== undefined && own !== old.own)) toEnd();
    else if (first !== old.first) element.scrollTop += element.scrollHeight - old.height;
    else if (count > old.count) setBehind(true);
    was.current = { first, count, own, height: element.scrollHeight };
  });

  useEffect(() => {
    const element = place.current;
    if (!element) return undefined;
    const resized = new ResizeObserver(() => following.current && toEnd());
    resized.observe(element);
    return () => resized.disconnect();
  }, []);

  return { place, onScroll, behind, toEnd };
}
