/** Every part of the console's kit on one page, for tests: built by them alone, and by nothing that is served. */

import { render } from "preact";
import { useState } from "preact/hooks";
import { ApiError } from "../../../admin/core/api.ts";
import { useForm } from "../../../admin/core/form.ts";
import { useKeys } from "../../../admin/core/keys.ts";
import { Boundary } from "../../../admin/frame/boundary.tsx";
import { Help } from "../../../admin/frame/help.tsx";
import { startTheme } from "../../../admin/frame/theme.ts";
import { Button } from "../../../admin/ui/button.tsx";
import { Code, CopyField, Json } from "../../../admin/ui/code.tsx";
import { confirm, Confirmation, Dialog, Once } from "../../../admin/ui/dialog.tsx";
import { Checkbox, ColorInput, LinesInput, NumberInput, Radios, SearchInput, Select, TextArea, TextInput, Toggle } from "../../../admin/ui/field.tsx";
import { FormView } from "../../../admin/ui/form.tsx";
import { ICONS, Icon, type IconName } from "../../../admin/ui/icon.tsx";
import { Menu } from "../../../admin/ui/menu.tsx";
import { Facts, Grid, Page, Row, Section, Stat } from "../../../admin/ui/page.tsx";
import { Avatar, Badge, Empty, ErrorBox, Foreign, Kbd, Meter, Notice, Skeleton, Spinner } from "../../../admin/ui/show.tsx";
import { Pager, Table } from "../../../admin/ui/table.tsx";
import { Tabs } from "../../../admin/ui/tabs.tsx";
import { toast, Toasts } from "../../../admin/ui/toast.tsx";
import { Count, Duration, Money, Time } from "../../../admin/ui/values.tsx";
import { VirtualList } from "../../../admin/ui/virtual.tsx";

interface Shop {
  name: string;
  color: string;
  prompt: string;
  origins: string[];
  temperature: number | null;
  plan: "free" | "pro";
  open: boolean;
  agreed: boolean;
  tone: "calm" | "lively";
  version: number;
}

const SHOP: Shop = {
  name: "Bob's Pizza Shop",
  color: "#d9480f",
  prompt: "You are the front desk of a pizza shop. Be short and kind.",
  origins: ["https://bobspizza.example", "https://www.bobspizza.example"],
  temperature: 0.5,
  plan: "pro",
  open: true,
  agreed: false,
  tone: "calm",
  version: 1,
};

/** What is saved, as a server would keep it. */
let kept: Shop = SHOP;

async function save(value: Shop): Promise<Shop> {
  if (value.name === "broken") throw new ApiError(503, { code: "unavailable", message: "Something we depend on is down.", request_id: "req_7" });
  if (!value.name) throw new ApiError(422, { code: "invalid", message: "`name` takes 1 to 100 characters", field: "name" });
  if (value.version !== kept.version) throw new ApiError(409, { code: "changed_meanwhile", message: "Ann changed it two minutes ago." });
  kept = { ...value, version: value.version + 1 };
  return kept;
}

function Inputs() {
  const form = useForm<Shop>({ value: SHOP, save, load: async () => kept, labels: { name: "Name", color: "Colour" } });
  const [q, setQ] = useState("");
  return (
    <Section title="A form" hint="Every input there is" actions={<SearchInput label="Search" value={q} onChange={setQ} fd="search" />}>
      <p data-fd="searched">{q}</p>
      <Button small onClick={() => (kept = { ...kept, color: "#087f5b", name: "Robert's", version: kept.version + 1 })} fd="change-elsewhere">
        Change it elsewhere
      </Button>
      <FormView form={form}>
        <TextInput {...form.field("name")} label="Name" required hint="As visitors see it" fd="name" />
        <ColorInput {...form.field("color")} label="Colour" fd="color" />
        <TextArea {...form.field("prompt")} label="Prompt" grow rows={6} fd="prompt" />
        <LinesInput {...form.field("origins")} label="Allowed origins" hint="One a line" mono fd="origins" />
        <NumberInput {...form.field("temperature")} label="Temperature" min={0} max={2} step={0.1} unit="0 to 2" fd="temperature" />
        <Select {...form.field("plan")} label="Plan" options={[{ value: "free", label: "Free" }, { value: "pro", label: "Professional" }]} fd="plan" />
        <Radios {...form.field("tone")} label="Tone" options={[{ value: "calm", label: "Calm", hint: "Short sentences" }, { value: "lively", label: "Lively" }]} />
        <Toggle {...form.field("open")} label="Answers visitors" hint="At once" fd="open" />
        <Checkbox {...form.field("agreed")} label="I have read it" fd="agreed" />
        <TextInput label="Not to be changed" value="pk_0123" onChange={() => undefined} disabled mono />
      </FormView>
    </Section>
  );
}

function Over() {
  const [open, setOpen] = useState(false);
  const [once, setOnce] = useState(false);
  const [said, say] = useState("");
  useKeys([{ keys: "j", label: "Say j", run: () => say("j") }, { keys: "g x", label: "Say the sequence", run: () => say("g x") }]);
  return (
    <Section title="Above the page">
      <Row>
        <Button onClick={() => setOpen(true)} fd="open-dialog">
          Dialog
        </Button>
        <Button kind="danger" icon="trash" fd="ask" onClick={async () => say(String(await confirm({ title: "Delete Bob's?", text: "Its conversations go with it.", action: "Delete", danger: true })))}>
          Delete
        </Button>
        <Button onClick={() => setOnce(true)} fd="open-once">
          Rotate key
        </Button>
        <Button onClick={() => toast("Saved.", { tone: "good" })} fd="say-good">
          Good news
        </Button>
        <Button onClick={() => toast("It could not be sent.", { tone: "bad", action: { label: "Try again", run: () => say("again") } })} fd="say-bad">
          Bad news
        </Button>
        <Menu
          label="What to do"
          fd="what-to-do"
          items={[
            { label: "Edit", icon: "edit", onSelect: () => say("edit") },
            { label: "Suspend", icon: "lock", disabled: true, onSelect: () => say("suspend") },
            "line",
            { label: "Delete", icon: "trash", danger: true, onSelect: () => say("delete") },
          ]}
        />
      </Row>
      <p data-fd="said">{said}</p>
      <Dialog open={open} title="A dialog" onClose={() => setOpen(false)} actions={<Button kind="primary" onClick={() => setOpen(false)}>Done</Button>}>
        <p>It keeps the focus inside and gives it back.</p>
        <TextInput label="Something" value="" onChange={() => undefined} />
      </Dialog>
      {once && <Once title="A new key" secrets={[{ label: "Secret key", value: "sk_live_0123456789abcdefghijklmnopqrstuvwxyz" }]} onClose={() => setOnce(false)} />}
    </Section>
  );
}

interface Line {
  id: number;
  name: string;
  turns: number;
  cost: string;
}

const LINES: Line[] = [
  { id: 1, name: "Bob's Pizza Shop", turns: 12_840, cost: "41.2207" },
  { id: 2, name: "מאפיית ג'יין", turns: 391, cost: "0.8841" },
  { id: 3, name: "A shop whose name is far longer than anybody would think reasonable for a shop", turns: 0, cost: "0" },
];

function Lists() {
  const [tab, setTab] = useState("all");
  return (
    <Section title="Lists" flush>
      <div class="card-body">
        <Tabs label="Which" tabs={[{ id: "all", label: "All", badge: 3 }, { id: "active", label: "Active" }, { id: "gone", label: "Suspended" }]} value={tab} onChange={setTab} />
      </div>
      <Table
        label="Clients"
        rows={tab === "gone" ? [] : LINES}
        keyOf={(row) => row.id}
        onOpen={(row) => toast(`Opened ${row.id}`)}
        empty={<Empty icon="clients" title="No client is suspended" action={<Button kind="primary" icon="plus">Add a client</Button>}>Those that you suspend stand here.</Empty>}
        columns={[
          { title: "Name", cell: (row) => <Foreign text={row.name} />, main: true },
          { title: "State", cell: (row) => (row.turns ? <Badge tone="good" dot>active</Badge> : <Badge>new</Badge>) },
          { title: "Answers", cell: (row) => <Count n={row.turns} />, end: true },
          { title: "Cost", cell: (row) => <Money usd={row.cost} />, end: true },
          { title: "Since", cell: () => <Time at={new Date(Date.now() - 7_200_000).toISOString()} />, narrow: false },
          { title: "", cell: () => <Menu label="More" kind="quiet" small items={[{ label: "Open" }]} />, end: true },
        ]}
      />
      <Pager pages={{ rows: LINES, loading: false, error: null, more: tab === "all", next: async () => undefined, reload: async () => undefined, set: () => undefined }} />
    </Section>
  );
}

function Long() {
  const [rows, setRows] = useState(() => Array.from({ length: 10_000 }, (_, i) => i));
  return (
    <Section title="Ten thousand rows" actions={<Button small onClick={() => setRows((old) => [old[0]! - 1, ...old])} fd="one-more">One more on top</Button>}>
      <div style={{ height: "200px", display: "flex", flexDirection: "column" }}>
        <VirtualList label="Numbers" items={rows} keyOf={(n) => n} rowHeight={32} render={(n) => <span data-n={n}>Row {n}</span>} fd="long" />
      </div>
    </Section>
  );
}

function Breaks() {
  const [broken, setBroken] = useState(false);
  if (broken) throw new Error("this part breaks on purpose");
  return (
    <Button small onClick={() => setBroken(true)} fd="break">
      Break this part
    </Button>
  );
}

function States() {
  return (
    <Grid min={300}>
      <Section title="Marks">
        <Row>
          <Badge>neutral</Badge>
          <Badge tone="accent">accent</Badge>
          <Badge tone="good" dot>live</Badge>
          <Badge tone="warn">waiting</Badge>
          <Badge tone="bad">failed</Badge>
        </Row>
        <Row>
          <Avatar name="Olga Petrova" online />
          <Avatar name="bob" online={false} />
          <Avatar name="ג'ינה" size={36} />
          <Spinner />
          <Kbd keys="Mod+Enter" />
          <Duration ms={73_000} />
        </Row>
        <Meter label="Messages" value={420} limit={1000} />
        <Meter label="Messages" value={870} limit={1000} />
        <Meter label="Messages" value={1000} limit={1000} />
      </Section>
      <Section title="Buttons">
        <Row>
          <Button kind="primary" icon="plus">Add</Button>
          <Button>Plain</Button>
          <Button kind="quiet">Quiet</Button>
          <Button kind="danger">Delete</Button>
        </Row>
        <Row>
          <Button kind="primary" busy>Saving</Button>
          <Button disabled>Disabled</Button>
          <Button blocked="Ann has it." onClick={() => document.body.append("it was done")} fd="blocked">
            Blocked
          </Button>
          <Button small>Small</Button>
          <Button icon="refresh" label="Load again" />
          <Button pressed icon="bell">Pressed</Button>
        </Row>
      </Section>
      <Section title="Loading">
        <Skeleton />
        <Skeleton block={60} />
      </Section>
      <Section title="Facts">
        <Facts rows={[["Client", "Bob's Pizza Shop"], ["Model", <code key="m">gpt-5-mini</code>], ["Address", <Foreign key="a" text="203.0.113.9" />]]} />
      </Section>
    </Grid>
  );
}

function Gallery() {
  return (
    <main>
      <Page title="The kit" subtitle="Every part of it" back={{ to: "/elsewhere", label: "Back" }} badge={<Badge tone="good">tests only</Badge>} actions={<Button kind="primary" icon="plus">Add</Button>}>
        <Grid min={180}>
          <Stat label="Conversations" value={<Count n={12_840} />} hint="today" />
          <Stat label="Cost" value={<Money usd="41.2207" />} hint="this month" />
          <Stat label="Failures" value="2.1%" tone="bad" hint="of all answers" />
        </Grid>
        <States />
        <Notice title="Good to know">There is a newer version.</Notice>
        <Notice tone="good" title="It works">The widget was seen on bobspizza.example.</Notice>
        <Notice tone="warn" title="Nearly used up" action={<Button small>Change plan</Button>}>870 of 1,000 messages.</Notice>
        <ErrorBox error={new ApiError(503, { code: "unavailable", message: "Something we depend on is down; please try again", request_id: "req_0123456789" })} onRetry={() => undefined} />
        <Lists />
        <Long />
        <Over />
        <Section title="Code">
          <CopyField label="Public key" value="pk_0123456789abcdefghijklmnopqrstuvwxyz" />
          <Code text={'<script async src="https://desk.example.com/widget.js" data-client-key="pk_0123456789"></script>'} />
          <Json value={{ order: 12345, items: [{ name: "Margherita", price: 16 }, { name: "<b>not bold</b>", price: null }], note: "שלום", empty: {}, paid: true }} fd="json" />
        </Section>
        <Section title="Icons">
          <Row>
            {(Object.keys(ICONS) as IconName[]).map((name) => (
              <span key={name} title={name}>
                <Icon name={name} />
              </span>
            ))}
          </Row>
        </Section>
        <Section title="What breaks" danger>
          <Boundary of="gallery">
            <Breaks />
          </Boundary>
        </Section>
        <Inputs />
      </Page>
      <Help />
      <Confirmation />
      <Toasts />
    </main>
  );
}

startTheme();
render(<Gallery />, document.getElementById("app")!);
