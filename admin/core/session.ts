/** Who is signed in. The cookie is the browser's; here are the operator and the token that goes with each change. */

import { ApiError, asApiError, request, surroundings } from "./api.ts";
import type { LinkSignIn, OperatorInfo, SignedIn, SignIn } from "./api.gen.ts";
import { tellReturn } from "./status.ts";
import { createStore, useStore } from "./store.ts";

export type Role = OperatorInfo["role"];

/** `expired` keeps the page below, so that nothing typed is lost; `unknown`: the server could not be asked. */
export type Session =
  | { kind: "asking" }
  | { kind: "unknown"; error: ApiError }
  | { kind: "out" }
  | { kind: "in"; signed: SignedIn }
  | { kind: "expired"; signed: SignedIn };

export const session = createStore<Session>({ kind: "asking" });

/** Each role may do what the ones before it may. */
const RANK: readonly Role[] = ["operator", "admin", "owner"];

export const signedIn = (state: Session = session.get()): SignedIn | null => ("signed" in state ? state.signed : null);

export function may(role: Role, operator: OperatorInfo | undefined = signedIn()?.operator): boolean {
  return operator !== undefined && RANK.indexOf(operator.role) >= RANK.indexOf(role);
}

/** Below the frame somebody always is signed in. */
export function useMe(): OperatorInfo {
  const operator = useStore(session, (state) => signedIn(state)?.operator);
  if (!operator) throw new Error("nobody is signed in here");
  return operator;
}

surroundings.csrf = () => signedIn()?.csrf ?? null;
surroundings.signedOut = () =>
  session.set((old) => (old.kind === "in" ? { kind: "expired", signed: old.signed } : old.kind === "expired" ? old : { kind: "out" }));
surroundings.renew = async () => accept(await request<SignedIn>("GET", "/me"));

let ending: ReturnType<typeof setTimeout> | undefined;

/** Takes a session. False where it is another person's than the page's: everything is loaded anew then. */
function accept(signed: SignedIn): boolean {
  const before = signedIn()?.operator;
  if (before && before.id !== signed.operator.id) {
    location.reload();
    return false;
  }
  const expired = session.get().kind === "expired";
  session.set({ kind: "in", signed });
  clearTimeout(ending);
  // The server says whether it has ended: this machine's clock may be wrong.
  ending = setTimeout(() => void ask(), Math.max(1000, Date.parse(signed.expires_at) - Date.now() + 1000));
  if (expired) tellReturn();
  return true;
}

/** Finds out who is signed in. */
export async function ask(): Promise<void> {
  try {
    accept(await request<SignedIn>("GET", "/me"));
  } catch (error) {
    const told = asApiError(error);
    if (told.code === "signed_out") return; // `signedOut` has seen it
    if (!signedIn()) session.set({ kind: "unknown", error: told });
  }
}

export async function signIn(given: SignIn): Promise<void> {
  accept(await request<SignedIn>("POST", "/login", given));
}

/** With the secret of a login link, which is used up. It may be another person's than the one who is signed in. */
export async function signInByLink(given: LinkSignIn): Promise<void> {
  const signed = await request<SignedIn>("POST", "/link", given);
  clearTimeout(ending);
  session.set({ kind: "asking" });
  accept(signed);
}

/** Leaves the page as well: nothing of what was shown stays in memory. */
export async function signOut(): Promise<void> {
  try {
    await request("POST", "/logout");
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 401) throw error; // it had ended already
  }
  location.replace("/admin/");
}
