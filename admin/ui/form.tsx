/** A form's element: its general error, the bar that saves, the warning before leaving, and what somebody else changed. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Clash, Form } from "../core/form.ts";
import { useLatest } from "../core/resource.ts";
import { router } from "../router.ts";
import { Button } from "./button.tsx";
import { confirm, Dialog } from "./dialog.tsx";
import { Badge, ErrorBox, Notice } from "./show.tsx";

export interface FormViewProps<T> {
  form: Form<T>;
  children: ComponentChildren;
  /** The word on its button. */
  submit?: string;
  /** No bar until something was changed. */
  quiet?: boolean;
  /** The button is elsewhere, for instance in a dialog's foot: `<Button submit>` within the form, or `form.submit()`. */
  bare?: boolean;
  /** Instead of `form.submit`. */
  onSubmit?: (event: Event) => void;
  fd?: string;
}

export function FormView<T>({ form, children, submit = "Save changes", quiet, bare, onSubmit, fd }: FormViewProps<T>) {
  const element = useRef<HTMLFormElement>(null);
  const { dirty, saving, error, errors, clash } = form;
  useLeaveWarning(dirty && !bare, () => form.dirty);
  useEffect(() => {
    if (Object.keys(errors).length) element.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus();
  }, [errors]);
  return (
    <form ref={element} class="form" noValidate onSubmit={onSubmit ?? ((event) => void form.submit(event))} data-fd={fd ?? "form"}>
      {children}
      {error && <ErrorBox error={error} />}
      {!bare && (dirty || saving || !quiet) && (
        <div class="save-bar" data-fd="save-bar">
          <span class="save-state" role="status">
            {saving ? "Saving" : dirty ? "Not saved yet" : ""}
          </span>
          {dirty && !saving && (
            <Button onClick={() => form.reset()} fd="discard">
              Discard
            </Button>
          )}
          <Button kind="primary" submit busy={saving} disabled={!dirty && !saving} fd="save">
            {submit}
          </Button>
        </div>
      )}
      {clash && <ClashDialog clash={clash} form={form} />}
    </form>
  );
}

/**
 * Asks before the page is left with something unsaved, by a link of ours or by the browser.
 *
 * `still` says it of this very moment: what was saved since the last drawing needs no question.
 */
export function useLeaveWarning(unsaved: boolean, still: () => boolean): void {
  const latest = useLatest(still);
  useEffect(() => {
    if (!unsaved) return undefined;
    const lift = router.guard(() => {
      if (!latest.current()) return true;
      return confirm({ title: "Leave without saving?", text: "What you changed here is lost then.", action: "Leave", danger: true });
    });
    const before = (event: BeforeUnloadEvent) => {
      if (latest.current()) event.preventDefault();
    };
    addEventListener("beforeunload", before);
    return () => {
      lift();
      removeEventListener("beforeunload", before);
    };
  }, [unsaved]);
}

function ClashDialog<T>({ clash, form }: { clash: Clash<T>; form: Form<T> }) {
  const rows = clash.differences.filter((each) => each.path !== "version");
  const clashes = rows.some((each) => each.clash);
  return (
    <Dialog
      open
      wide
      title="Somebody else changed this"
      onClose={() => form.settle("later")}
      fd="clash"
      actions={
        <>
          <Button onClick={() => form.settle("theirs")} fd="clash-theirs">
            Drop mine, take theirs
          </Button>
          <Button kind="primary" onClick={() => form.settle("mine")} fd="clash-mine">
            Keep mine on top of theirs
          </Button>
        </>
      }
    >
      <p>{clash.message}</p>
      {clashes && <Notice tone="warn">Both of you changed some fields. Keeping yours replaces theirs in these, once you save.</Notice>}
      {rows.length === 0 && <p>Both of you made the same change.</p>}
      {rows.length > 0 && (
        <table class="table clash">
          <thead>
            <tr>
              <th scope="col">Field</th>
              <th scope="col">Yours</th>
              <th scope="col">Theirs, saved now</th>
            </tr>
          </thead>
          <tbody>
            {rows.map((each) => (
              <tr key={each.path}>
                <th scope="row">
                  {form.labels[each.path] ?? each.path} {each.clash && <Badge tone="warn">both</Badge>}
                </th>
                <td data-label="Yours">
                  <Value value={each.mine} />
                </td>
                <td data-label="Theirs">
                  <Value value={each.theirs} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </Dialog>
  );
}

function Value({ value }: { value: unknown }) {
  const text = typeof value === "string" ? value : value === null || value === undefined ? "" : JSON.stringify(value, null, 1);
  return text === "" ? <span class="mute">empty</span> : <bdi dir="auto" class="clash-value">{text}</bdi>;
}
