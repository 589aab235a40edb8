/** Role and client of an operator: an owner serves all, an operator one client, an admin either. */

import { useState } from "preact/hooks";
import type { ClientPage, OperatorInfo } from "../core/api.gen.ts";
import { withQuery } from "../core/api.ts";
import type { Fields } from "../core/form.ts";
import { useResource } from "../core/resource.ts";
import { useMe } from "../core/session.ts";
import { Radios, SearchInput, Select } from "../ui/choice.tsx";
import { Notice } from "../ui/show.tsx";
import { rolesFor, withRole, type Placed } from "./roles.ts";
import { words } from "./words.ts";

export interface ChosenClient {
  id: number;
  name: string;
}

export function RoleFields({ at, disabled, client }: { at: Fields<Placed>; disabled?: boolean; client?: ChosenClient | null }) {
  const me = useMe();
  const { role } = at.value;
  const roles = rolesFor(me).map((value) => ({ value, label: words.roles[value], hint: words.roleHints[value] }));
  const choose = (next: OperatorInfo["role"]) => at.set(withRole(at.value, next, me));
  return (
    <>
      <Radios {...at.field("role")} label={words.role} options={roles} onChange={choose} disabled={disabled} fd="role" />
      {role !== "owner" && me.client_id === null && <ClientField at={at} disabled={disabled} client={client} />}
    </>
  );
}

const MOST = 100;

function ClientField({ at, disabled, client }: { at: Fields<Placed>; disabled?: boolean; client?: ChosenClient | null }) {
  const [q, setQ] = useState("");
  const clients = useResource<ClientPage>(withQuery("/clients", { limit: MOST, q }));
  const found = (clients.value?.rows ?? []).map(({ id, name }) => ({ value: id as number | null, label: name }));
  const more = clients.value ? clients.value.before !== null : false;
  if (client && !found.some(({ value }) => value === client.id)) found.unshift({ value: client.id, label: client.name });
  found.sort((a, b) => a.label.localeCompare(b.label));
  // An operator without a client is not chosen, but has not been given one yet.
  const none = { value: null, label: at.value.role === "admin" ? words.all : "", disabled: at.value.role !== "admin" };
  return (
    <>
      {(more || q !== "") && <SearchInput label={words.search} value={q} onChange={setQ} fd="client-search" />}
      <Select {...at.field("client_id")} label={words.client} options={[none, ...found]} disabled={disabled} required={at.value.role === "operator"} fd="client" />
      {more && <Notice>{words.tooMany}</Notice>}
    </>
  );
}
