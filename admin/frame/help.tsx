/** The keyboard shortcuts that work now. */

import { helpOpen, shortcuts, useKeys } from "../core/keys.ts";
import { useStore } from "../core/store.ts";
import { Dialog } from "../ui/dialog.tsx";
import { Kbd } from "../ui/show.tsx";

export function Help() {
  const open = useStore(helpOpen);
  const list = useStore(shortcuts);
  useKeys([{ keys: "?", label: "Keyboard shortcuts", run: () => helpOpen.set(true) }]);
  return (
    <Dialog open={open} title="Keyboard shortcuts" onClose={() => helpOpen.set(false)} fd="help">
      <dl class="shortcuts">
        {list
          .filter((each) => each.when !== false)
          .map((each) => (
            <div key={`${each.keys} ${each.label}`}>
              <dt>{each.label}</dt>
              <dd>
                <Kbd keys={each.keys} />
              </dd>
            </div>
          ))}
      </dl>
    </Dialog>
  );
}
