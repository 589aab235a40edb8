/** Who may be given which role, and which client goes with it. The server has the last word. */

import type { OperatorInfo } from "../core/api.gen.ts";

export type Role = OperatorInfo["role"];

export interface Placed {
  role: Role;
  client_id: number | null;
}

/** An owner makes everybody, an admin everybody but owners. */
export const rolesFor = (me: OperatorInfo): Role[] => (me.role === "owner" ? ["operator", "admin", "owner"] : ["operator", "admin"]);

/** The client that goes with another role: none with an owner; who serves one client makes its staff alone. */
export function withRole(now: Placed, role: Role, me: OperatorInfo): Placed {
  if (role === "owner") return { role, client_id: null };
  return { role, client_id: me.client_id ?? now.client_id };
}
