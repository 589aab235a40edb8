/** One tool of the catalogue, and a new one. */

import { useMemo } from "preact/hooks";
import type { CatalogueTool } from "../core/api.gen.ts";
import { ApiError, get, put } from "../core/api.ts";
import { useForm } from "../core/form.ts";
import { useResource } from "../core/resource.ts";
import { may } from "../core/session.ts";
import { navigate, type PageProps } from "../router.ts";
import { TextInput } from "../ui/field.tsx";
import { FormView } from "../ui/form.tsx";
import { Page, Section } from "../ui/page.tsx";
import { Load, Notice } from "../ui/show.tsx";
import { toast } from "../ui/toast.tsx";
import { DefinitionFields } from "./definition.tsx";
import { newTool, toolEdit, type ToolForm, toolForm } from "./edit.ts";
import { words } from "./words.ts";

const back = { to: "/tools", label: words.title };

export default function ToolPage({ params: { name } }: PageProps<"/tools/:name">) {
  return name === "+new" ? <NewTool /> : <OldTool key={name} name={name} />;
}

function NewTool() {
  return (
    <Page title={words.new} back={back}>
      <Definition value={newTool} />
    </Page>
  );
}

function OldTool({ name }: { name: string }) {
  const tool = useResource<CatalogueTool>(`/tools/${name}`);
  const value = useMemo(() => tool.value && toolForm(tool.value), [tool.value]);
  return (
    <Page title={name} back={back}>
      {!may("owner") && <Notice>{words.readOnly}</Notice>}
      <Load from={tool}>{() => value && <Definition value={value} />}</Load>
    </Page>
  );
}

function Definition({ value }: { value: ToolForm }) {
  const fresh = value.version === null;
  const form = useForm<ToolForm>({
    value,
    async save(typed) {
      const name = typed.tool_name.trim();
      if (!/^[a-zA-Z0-9_-]{1,64}$/.test(name)) throw new ApiError(422, { code: "invalid", message: words.nameHint, field: "tool_name" });
      const saved = await put<CatalogueTool>(`/tools/${name}`, toolEdit(typed));
      toast(words.saved, { tone: "good" });
      return toolForm(saved);
    },
    load: async () => toolForm(await get<CatalogueTool>(`/tools/${value.tool_name}`)),
    labels: words.labels,
  });
  const disabled = !may("owner");
  const { tool_name, category } = form.value;
  const submit = async (event: Event) => {
    if ((await form.submit(event)) && fresh) navigate(`/tools/${form.value.tool_name}`, { replace: true });
  };
  return (
    <FormView form={form} submit={words.save} quiet={!fresh} onSubmit={(event) => void submit(event)}>
      <Section>
        {fresh && <TextInput {...form.field("tool_name")} label={words.name} hint={words.nameHint} mono required maxLength={64} autoFocus fd="tool-name" />}
        <TextInput {...form.field("category")} label={words.category} required maxLength={64} disabled={disabled} />
      </Section>
      <DefinitionFields form={form} rest={{ tool_name, category }} check="/tools/check" disabled={disabled} />
    </FormView>
  );
}
