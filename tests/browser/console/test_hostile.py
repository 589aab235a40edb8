"""A thousand texts that mean harm, as names, messages and results: the console shows them, and does nothing."""

from collections.abc import Sequence

from playwright.async_api import expect

from server import ids
from server.repositories.pool import reading
from tests.browser.console.payloads import PAYLOADS
from tests.browser.console.support import Tab
from tests.flows.support import Desk, Shop
from tests.staffing import hire

# A conversation of the test has so many of them, each as a visitor's message, an answer, a tool's argument and result.
EACH = 40
# Elements that come from nowhere but a text, and attributes that run something.
_HARM = """() => {
  // The page has one of its own.
  const all = [...document.querySelectorAll("body *:not(body > noscript)")];
  const harmful = "script, iframe, object, embed, link, base, meta, style, math, template, noscript, frontdesk-widget";
  const bad = all.filter((e) => e.matches(harmful)).map((e) => e.outerHTML);
  const attributes = all.flatMap((e) => [...e.attributes].map((a) => a.name)).filter((a) => /^(on|srcdoc$)/.test(a));
  const links = all.filter((e) => e.localName === "a").map((e) => e.getAttribute("href") ?? "");
  const tricks = links.filter((href) => !/^(\\/|https?:|mailto:|tel:|#)/.test(href));
  const pictures = all.filter((e) => e.localName === "img").map((e) => new URL(e.src, location.href));
  const foreign = pictures.filter((url) => url.origin !== location.origin).map(String);
  return [...bad, ...attributes, ...tricks, ...foreign, ...(window.fired ? ["fired"] : [])];
}"""


async def converse(desk: Desk, shop: Shop, texts: Sequence[str]) -> str:
    """A conversation whose visitor, messages and calls of tools are made of these texts; its public id."""
    public_id = ids.conversation_id()
    name = texts[0].replace("\0", "")[:200]
    async with reading(desk.pool) as conn:
        await conn.execute(
            """
            with v as (
                insert into visitors (client_id, external_id, name, email)
                values (%(client)s, %(public)s, %(name)s, %(name)s) returning id
            ), c as (
                insert into conversations (
                    public_id, client_id, session_id, session_token_hash, visitor_id, channel, locale, epoch,
                    last_seq, total_messages
                )
                select %(public)s, %(client)s, %(session)s, %(hash)s, v.id, 'widget', 'en', %(epoch)s,
                       2 * %(count)s, 2 * %(count)s
                from v returning id
            ), said as (
                select t.text, t.no, %(public)s || 'q' || t.no as question, %(public)s || 'a' || t.no as answer,
                       %(public)s || 't' || t.no as turn
                from unnest(%(texts)s::text[]) with ordinality as t (text, no)
            ), questions as (
                insert into messages (public_id, client_id, conversation_id, role, content, seq)
                select question, %(client)s, c.id, 'user', text, 2 * no - 1 from said, c returning id, public_id
            ), turned as (
                insert into turns (
                    public_id, client_id, conversation_id, message_id, answer_id, status, error, finished_at
                )
                select turn, %(client)s, c.id, q.id, answer, 'done', text, now()
                from said join questions q on q.public_id = question, c returning id, public_id
            ), called as (
                insert into tool_executions (
                    client_id, conversation_id, turn_id, call_id, tool_name, parameters, n8n_response, success, error,
                    execution_time_ms
                )
                select %(client)s, c.id, t.id, 'call' || no, text, json_build_object(text, text),
                       json_build_object('told', text), true, text, 5
                from said join turned t on t.public_id = turn, c
            )
            insert into messages (public_id, client_id, conversation_id, role, content, seq, turn_id, model)
            select answer, %(client)s, c.id, 'assistant', text, 2 * no, t.id, text
            from said join turned t on t.public_id = turn, c
            """,
            {
                "client": shop.id,
                "public": public_id,
                "name": name,
                "session": ids.session_id(),
                "hash": ids.session_id().encode(),
                "epoch": ids.epoch(),
                "count": len(texts),
                "texts": list(texts),
            },
        )
    return public_id


async def test_a_thousand_payloads(console: Tab) -> None:
    """In the list, in each conversation with its traces unfolded, and on the pages of clients and staff."""
    assert len(PAYLOADS) == len(set(PAYLOADS)) == 1_000
    desk = console.desk
    shop = await desk.shop("bobspizza", widget_config={"title": PAYLOADS[1][:60]}, system_prompt=PAYLOADS[2])
    await desk.rows("update clients set name = %s where id = %s", PAYLOADS[0], shop.id)
    await hire(desk.pool, desk.keyring, name=PAYLOADS[1][:100])
    talks = [await converse(desk, shop, PAYLOADS[at : at + EACH]) for at in range(0, len(PAYLOADS), EACH)]
    for talk in talks:
        await console.goto(f"/inbox/{talk}")
        await expect(console.fd("message")).not_to_have_count(0)
        await console.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert await console.page.evaluate(_HARM) == [], talk
    pages = ["/clients", f"/clients/{shop.id}", f"/clients/{shop.id}/assistant", "/staff", "/staff/audit", "/usage"]
    for path in pages:
        await console.goto(path)
        await console.page.wait_for_load_state("networkidle")
        assert await console.page.evaluate(_HARM) == [], path
    assert [url for url in console.window.requests if not url.startswith((desk.url, "data:", "blob:"))] == []
