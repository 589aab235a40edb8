/**
 * One conversation as operators see it, as a pure function of the frames received: what the visitor sees, by the widget's own
 * reducer, and beside it what only operators are told. No view, no clock, no network.
 */

import type { Colleague, ToolTrace, TurnTrace, Welcome, WhisperRecorded } from "../../../widget-src/core/protocol.gen.ts";
import { EMPTY, receive, type State } from "../../../widget-src/core/reducer.ts";
import type { About } from "./operator_session.ts";

/** A command that has been sent; it goes when it is done. */
export interface Command {
  state: "running" | "failed";
  /** Why it failed, in the server's words; empty where the link was lost before the answer came; null: it was never sent. */
  error: string | null;
  /** What would have been whispered. */
  text?: string;
}

/** Commands are named by their frames: one of each kind runs at a time. */
export type CommandName = "conversation.take" | "conversation.release" | "conversation.close" | "whisper.send" | "turn.stop" | "tool.approve";

export interface Talk {
  readonly id: string;
  /** What the visitor sees. Its outbox holds the operator's own replies that are not known to be stored. */
  state: State;
  /** Frames come: it was asked for over this link, and answered. */
  watched: boolean;
  /** Why it cannot be watched: it is gone, or another client's. */
  refused: string | null;
  clientId: number | null;
  /** The visitor's typing shows until then (ms since 1970). */
  visitorTyping: number;
  /** Null while it is not known. */
  visitorOnline: boolean | null;
  /** Who watches it, oneself among them. */
  operators: Colleague[];
  /** Oldest first. */
  whispers: WhisperRecorded[];
  /** What a turn's model was asked with last, by turn. */
  traces: Record<string, TurnTrace>;
  /** Calls of tools with arguments and results, by call. */
  calls: Record<string, ToolTrace>;
  commands: Partial<Record<CommandName, Command>>;
}

/** How long "is typing" stands without being said again (ms). */
const TYPING = 6_000;

export function emptyTalk(id: string): Talk {
  return {
    id,
    state: EMPTY,
    watched: false,
    refused: null,
    clientId: null,
    visitorTyping: 0,
    visitorOnline: null,
    operators: [],
    whispers: [],
    traces: {},
    calls: {},
    commands: {},
  };
}

/** `conversation.watched` as what it is to a visitor. The reducer reads no session, and pending replies are told by their cids. */
function asWelcome({ conversation_id, epoch, head_seq, resumed }: Extract<About, { type: "conversation.watched" }>): Welcome {
  const limits = { message_characters: 0, frame_bytes: 0 };
  return { type: "welcome", v: 1, session: { id: "", token: "" }, conversation_id, epoch, head_seq, resumed, pending: {}, heartbeat_s: 0, limits };
}

/** Each once, by its number: one may come twice. */
function addWhispers(known: WhisperRecorded[], told: WhisperRecorded[]): WhisperRecorded[] {
  const fresh = told.filter(({ no }) => known.every((each) => each.no !== no));
  return fresh.length ? [...known, ...fresh].sort((a, b) => a.no - b.no) : known;
}

function addCall(calls: Talk["calls"], told: ToolTrace): Talk["calls"] {
  // The one of its beginning may come after that of its end.
  return calls[told.call_id]?.result != null && told.result == null ? calls : { ...calls, [told.call_id]: told };
}

export function setCommand(talk: Talk, name: CommandName, command: Command | null): Talk {
  const { [name]: old, ...rest } = talk.commands;
  if (!old && !command) return talk;
  return { ...talk, commands: command ? { ...rest, [name]: command } : rest };
}

const COMMANDS: readonly string[] = [
  "conversation.take",
  "conversation.release",
  "conversation.close",
  "whisper.send",
  "turn.stop",
  "tool.approve",
] satisfies CommandName[];

const isCommand = (name: string | null | undefined): name is CommandName => COMMANDS.includes(name ?? "");

/** The visitor's frames change what the visitor sees; one that changes nothing gives the same talk. */
function see(talk: Talk, frame: Extract<About, { type: "conversation.frame" }>["frame"], now: number): Talk {
  if (frame.type === "typing" && frame.who === "visitor") return { ...talk, visitorTyping: frame.on ? now + TYPING : 0 };
  const state = receive(talk.state, frame, now);
  const said = frame.type === "message.created" && frame.message.role === "user";
  return state === talk.state ? talk : { ...talk, state, visitorTyping: said ? 0 : talk.visitorTyping };
}

/** One frame from the server. `now` is in ms since 1970. */
export function take(talk: Talk, frame: About, now: number): Talk {
  switch (frame.type) {
    case "conversation.frame":
      return see(talk, frame.frame, now);
    case "conversation.watched":
      return {
        ...talk,
        state: receive(talk.state, asWelcome(frame), now),
        watched: true,
        refused: null,
        clientId: frame.client_id,
        whispers: addWhispers(talk.whispers, frame.whispers ?? []),
      };
    case "presence":
      return { ...talk, operators: frame.operators, visitorOnline: frame.visitor_online ?? null };
    case "turn.trace":
      return { ...talk, traces: { ...talk.traces, [frame.turn_id]: frame } };
    case "tool.trace":
      return { ...talk, calls: addCall(talk.calls, frame) };
    case "whisper.recorded":
      return { ...talk, whispers: addWhispers(talk.whispers, [frame]) };
    case "command.done":
      return isCommand(frame.command) ? setCommand(talk, frame.command, null) : talk;
    case "ack":
      return { ...talk, state: receive(talk.state, frame, now) };
    case "nack":
      return { ...talk, state: receive(talk.state, frame, now) };
    case "error": {
      const { command, message, temporary } = frame;
      if (command === "conversation.watch") return { ...talk, watched: false, refused: temporary ? talk.refused : message };
      if (!isCommand(command)) return talk;
      return setCommand(talk, command, { ...talk.commands[command], state: "failed", error: message });
    }
    default:
      return talk; // a newer server may say more
  }
}

/** The link is lost: nobody is known to be there, and what was being done may or may not have been. */
export function lose(talk: Talk): Talk {
  const commands: Talk["commands"] = {};
  for (const [name, command] of Object.entries(talk.commands) as [CommandName, Command][]) {
    commands[name] = command.state === "running" ? { ...command, state: "failed", error: "" } : command;
  }
  return { ...talk, watched: false, operators: [], visitorOnline: null, visitorTyping: 0, commands };
}

/** Whether an answer is being made, or is about to be. */
export const isAnswering = ({ state }: Talk): boolean => state.live !== null || (state.waiting && state.owner === "ai");
