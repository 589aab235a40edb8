/**
 * What a visitor's screen shows, as a pure function of the frames received. No view, no clock, no network.
 *
 * A durable frame counts if its seq is the last + 1. A delta counts if its n is the last + 1 in its turn and gen.
 * Anything further ahead means that something was missed: `gap` is set, and whoever holds the state says hello again.
 */

import type { LiveAnswer, Message, Person, Snapshot, ToolState, ToVisitor } from "./protocol.gen.ts";

export type Owner = Snapshot["owner"];
export type Rating = "up" | "down";

/** A tool call behind an answer. */
export interface Step extends ToolState {
  /** Until when (ms since 1970) it may be allowed; not known after a reload. */
  expires?: number;
}

/** The answer that is being written. */
export interface Live extends LiveAnswer {
  tools?: Step[];
}

export interface Item extends Message {
  /** Steps behind an answer, kept while the page lives. */
  tools?: Step[];
  /** Set on the notice that the conversation changed hands; such an item has no text. */
  owner?: Owner;
}

/** The visitor's own message before it is known to be stored. */
export interface Draft {
  cid: string;
  text: string;
  at: number;
  state: "sending" | "stored" | "failed";
  error?: string;
}

export interface State {
  /** Seq of the last durable frame; -1 where it is not known, so that the next one is taken as it is. */
  seq: number;
  epoch: string | null;
  gap: boolean;
  /** The conversation so far is here. */
  loaded: boolean;
  messages: Item[];
  outbox: Draft[];
  live: Live | null;
  /** A message is stored and its answer has not begun. */
  waiting: boolean;
  failed: { text: string; retryable: boolean } | null;
  owner: Owner;
  operator: Person | null;
  /** The operator's typing shows until then (ms since 1970). */
  typing: number;
  /** The reader is looking: nothing new is unread. */
  looking: boolean;
  unread: number;
  seen: string | null;
  /** A trouble of the server's that will pass, in its words; empty where those are not for visitors. */
  error: string | null;
  /** No message is taken before that time (ms since 1970). */
  limited: number;
}

export const EMPTY: State = {
  seq: -1,
  epoch: null,
  gap: false,
  loaded: false,
  messages: [],
  outbox: [],
  live: null,
  waiting: false,
  failed: null,
  owner: "ai",
  operator: null,
  typing: 0,
  looking: false,
  unread: 0,
  seen: null,
  error: null,
  limited: 0,
};

/** How long "is typing" stands without being said again (ms). */
const TYPING = 6_000;

// The functions below change the copy that `receive` made; what hangs on it is replaced, never changed.

function look(s: State): void {
  if (!s.looking) return;
  s.unread = 0;
  for (const { id, owner } of s.messages) if (!owner) s.seen = id;
}

/** Adds a message, or replaces the one with its id; its draft is done. */
function put(s: State, message: Item): void {
  const rest = s.messages.filter((m) => m.id !== message.id);
  if (rest.length < s.messages.length) s.messages = s.messages.map((m) => (m.id === message.id ? message : m));
  else {
    s.messages = [...rest, message];
    if (message.role !== "user" && !message.owner) s.unread++;
  }
  s.outbox = s.outbox.filter((d) => d.cid !== message.cid);
  look(s);
}

/** `from`: a frame without a number may come late, and then says nothing of a step that is in another state by now. */
function setTool(s: State, { turn_id, call_id }: { turn_id: string; call_id: string }, change: Partial<Step>, from?: Step["state"]): void {
  if (s.live?.turn_id !== turn_id) return;
  const { tools = [] } = s.live;
  const old = tools.find((t) => t.call_id === call_id);
  if (from && old && old.state !== from) return;
  const next: Step = { call_id, label: "", state: "running", ...old, ...change };
  s.live = { ...s.live, tools: old ? tools.map((t) => (t === old ? next : t)) : [...tools, next] };
}

function setDraft(s: State, cid: string, change: Partial<Draft>): void {
  s.outbox = s.outbox.map((d) => (d.cid === cid ? { ...d, ...change } : d));
}

/** The steps that are over. */
const ended = ({ tools }: Live) => tools?.filter((t) => t.state === "done" || t.state === "failed");

/** The turn is over, with or without a message. */
function finish(s: State, turn_id: string, message?: Item | null): void {
  s.waiting = false;
  s.failed = null;
  let tools: Step[] | undefined;
  if (s.live?.turn_id === turn_id) {
    tools = ended(s.live);
    s.live = null;
  }
  if (message) put(s, { ...message, tools });
}

/** A newer gen began: the text of older ones is dropped, and the steps that had not ended. */
function regen(s: State, turn_id: string, gen: number): void {
  if (s.live?.turn_id === turn_id && gen > s.live.gen) {
    s.live = { ...s.live, gen, n: 0, text: "", tools: ended(s.live) };
  }
}

/** Without `messages` it follows a resume: what was missed has come as events, and one's own messages stand. */
function restore(s: State, { messages, up_to_seq, owner, operator, live }: Snapshot): void {
  if (live) regen(s, live.turn_id, live.gen);
  const known = messages ? undefined : s.live;
  // The steps have come as events too, and no snapshot repeats those.
  s.live = live ? { tools: known?.turn_id === live.turn_id ? known.tools : undefined, ...live } : null;
  s.owner = owner;
  s.operator = operator ?? null;
  s.loaded = true;
  if (live) s.waiting = false;
  if (!messages) {
    s.gap = s.seq >= 0 && s.seq < up_to_seq;
    return;
  }
  s.seq = up_to_seq;
  s.messages = messages;
  s.waiting = false;
  s.failed = null;
  s.outbox = s.outbox.filter((d) => d.state !== "stored" && !messages.some((m) => m.cid === d.cid));
  const since = messages.findIndex((m) => m.id === s.seen);
  if (since >= 0) s.unread = messages.slice(since + 1).filter((m) => m.role !== "user").length;
  look(s);
}

/** One frame from the server. `now` is in ms since 1970. */
export function receive(old: State, f: ToVisitor, now: number): State {
  const s = { ...old };
  // Also a durable frame of a type not known here takes its number.
  if ("seq" in f && f.type !== "ack") {
    if (s.gap || f.seq <= s.seq) return old;
    if (s.seq >= 0 && f.seq > s.seq + 1) return { ...s, gap: true };
    s.seq = f.seq;
  }
  switch (f.type) {
    case "welcome":
      s.gap = false;
      // Until the snapshot is here, nothing is known of this epoch.
      if (!f.resumed) s.seq = -1;
      s.epoch = f.epoch;
      s.error = null;
      s.loaded ||= f.resumed || !f.head_seq;
      // What the server holds is not sent again; it comes with what was missed.
      s.outbox = s.outbox.map((d) => (f.pending[d.cid] == null ? d : { ...d, state: "stored" }));
      break;
    case "snapshot":
      restore(s, f);
      break;
    case "message.created":
      put(s, f.message);
      if (f.message.role === "user") {
        s.waiting = s.owner === "ai";
        s.failed = null;
      } else s.typing = 0;
      break;
    case "turn.started":
      s.waiting = false;
      s.failed = null;
      // A snapshot that was read after the events may have told of it.
      if (s.live?.turn_id !== f.turn_id) s.live = { ...f, n: 0, text: "" };
      break;
    case "message.delta":
      if (s.gap || s.live?.turn_id !== f.turn_id || f.gen < s.live.gen) return old;
      regen(s, f.turn_id, f.gen);
      if (f.n <= s.live.n) return old;
      if (f.n > s.live.n + 1) return { ...old, gap: true };
      s.live = { ...s.live, n: f.n, text: s.live.text + f.text };
      break;
    case "turn.reset":
      regen(s, f.turn_id, f.gen);
      break;
    case "tool.started":
      setTool(s, f, { label: f.label, state: "running" });
      break;
    case "tool.progress":
      setTool(s, f, { text: f.text }, "running");
      break;
    case "tool.confirm_request":
      setTool(s, f, { label: f.label, state: "confirm", text: f.text, expires: Date.parse(f.expires_at) }, "confirm");
      break;
    case "tool.finished":
      setTool(s, f, { state: f.ok ? "done" : "failed", text: f.summary });
      break;
    case "message.completed":
      finish(s, f.turn_id, f.message);
      break;
    case "turn.stopped":
      finish(s, f.turn_id, f.message && { ...f.message, stopped: true });
      break;
    case "turn.failed":
      finish(s, f.turn_id);
      s.failed = { text: f.message, retryable: f.retryable };
      break;
    case "owner.changed":
      s.owner = f.owner;
      s.operator = f.operator ?? null;
      s.typing = 0;
      s.waiting &&= f.owner === "ai";
      put(s, { id: "seq-" + f.seq, role: "system", text: "", created_at: new Date(now).toISOString(), owner: f.owner, author: f.operator });
      break;
    case "feedback.recorded":
      return rate(s, f.message_id, f.rating);
    case "ack":
      s.error = null;
      setDraft(s, f.cid, { state: "stored" });
      break;
    case "nack":
      // The session says it again, until it is taken or refused.
      if (f.code === "unavailable") s.error = f.message;
      else {
        setDraft(s, f.cid, { state: "failed", error: f.message });
        s.limited = Math.max(s.limited, now + (f.retry_after_ms ?? 0));
      }
      break;
    case "typing":
      if (f.who === "operator") s.typing = f.on ? now + TYPING : 0;
      break;
    case "error":
      // What does not pass by itself is for whoever built the page, and is an event there.
      if (f.temporary) s.error = f.code === "unavailable" ? f.message : "";
    // drain and pong are the session's; a newer server may say more
  }
  return s;
}

/** The visitor says something. */
export function draft(s: State, cid: string, text: string, at: number): State {
  return { ...s, failed: null, error: null, outbox: [...s.outbox, { cid, text, at, state: "sending" }] };
}

/** Takes back a message that was refused. */
export function discard(s: State, cid: string): State {
  return { ...s, outbox: s.outbox.filter((d) => d.cid !== cid) };
}

export function rate(s: State, id: string, rating: Rating): State {
  return { ...s, messages: s.messages.map((m) => (m.id === id ? { ...m, rating } : m)) };
}

/** The visitor has answered a tool that asks first. */
export function decided(s: State, call_id: string): State {
  const next = { ...s };
  if (s.live) setTool(next, { turn_id: s.live.turn_id, call_id }, { state: "running" });
  return next;
}

/** Messages from before the first one shown. */
export function prepend(s: State, older: Message[]): State {
  return { ...s, messages: [...older.filter((m) => s.messages.every((k) => k.id !== m.id)), ...s.messages] };
}

export function looking(s: State, on: boolean): State {
  const next = { ...s, looking: on };
  look(next);
  return next;
}
