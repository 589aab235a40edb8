/** A page that breaks takes only itself with it. */

import { Component, type ComponentChildren } from "preact";
import { Button } from "../ui/button.tsx";
import { Notice } from "../ui/show.tsx";

interface Props {
  /** Another one begins anew, for instance another page. */
  of: string;
  children: ComponentChildren;
}

interface State {
  error: Error | null;
  of: string;
}

export class Boundary extends Component<Props, State> {
  override state: State = { error: null, of: this.props.of };

  static override getDerivedStateFromError(error: unknown): Partial<State> {
    return { error: error instanceof Error ? error : new Error(String(error)) };
  }

  static override getDerivedStateFromProps({ of }: Props, state: State): Partial<State> | null {
    return of === state.of ? null : { of, error: null };
  }

  override componentDidCatch(error: unknown): void {
    console.error(error);
  }

  override render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    return (
      <div class="page" data-fd="broken">
        <Notice
          tone="bad"
          title="This page has failed"
          action={
            <Button small icon="refresh" onClick={() => this.setState({ error: null })}>
              Try again
            </Button>
          }
        >
          It is our mistake. The others still work; what you saved is kept. <code>{error.message}</code>
        </Notice>
      </div>
    );
  }
}
