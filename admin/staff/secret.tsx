/** What lets somebody in, shown once. */

import type { LoginLink, OperatorRow, PasswordShown } from "../core/api.gen.ts";
import { post } from "../core/api.ts";
import { Once } from "../ui/dialog.tsx";
import { words } from "./words.ts";

export interface Secret {
  title: string;
  label: string;
  value: string;
  text?: string;
}

type Who = Pick<OperatorRow, "id" | "name">;

export const passwordOf = ({ name }: Who, value: string): Secret => ({
  title: words.once.passwordTitle(name),
  label: words.once.password,
  value,
});

export async function newPassword(who: Who): Promise<Secret> {
  const { password } = await post<PasswordShown>(`/operators/${who.id}/reset-password`);
  return passwordOf(who, password);
}

export async function newLink(who: Who): Promise<Secret> {
  const { url, expires_in_s } = await post<LoginLink>(`/operators/${who.id}/link`);
  return { title: words.once.linkTitle(who.name), label: words.once.link, value: url, text: words.once.linkText(expires_in_s) };
}

export function SecretOnce({ secret, onClose }: { secret: Secret; onClose: () => void }) {
  return <Once title={secret.title} text={secret.text} secrets={[secret]} onClose={onClose} />;
}
