/** Saves a conversation as a test case. */

import type { Case } from "../core/api.gen.ts";
import { post } from "../core/api.ts";
import { useAction } from "../core/resource.ts";
import { navigate } from "../router.ts";
import { Button } from "../ui/button.tsx";
import { ErrorBox } from "../ui/show.tsx";
import { toast } from "../ui/toast.tsx";
import { words } from "./words.ts";

const { chat } = words;

export function KeepCase({ client_id, conversation_id, disabled }: { client_id: number; conversation_id: string; disabled?: boolean }) {
  const keep = useAction(async () => {
    const kept = await post<Case>(`/clients/${client_id}/cases`, { conversation_id });
    const show = { label: chat.show, run: () => navigate(`/clients/${client_id}/cases/${kept.id}`) };
    toast(chat.kept, { tone: "good", action: show });
  });
  return (
    <>
      <Button icon="check" busy={keep.busy} disabled={disabled} onClick={() => void keep.run()} fd="keep-case">
        {chat.keep}
      </Button>
      {keep.error && <ErrorBox error={keep.error} />}
    </>
  );
}
