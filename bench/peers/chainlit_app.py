"""The chat of Chainlit's own pages on streaming and on the chat's context (docs.chainlit.io), with `openai`'s client.

Run by the peers' own interpreter. It keeps the conversation in memory.
"""

# Not in the environment that the checks run in: `make bench-peers` gives Chainlit one of its own.
import chainlit as cl  # type: ignore[import-not-found]
from openai import AsyncOpenAI

client = AsyncOpenAI()


@cl.on_message  # type: ignore[untyped-decorator]  # for the same reason
async def answer(_message: cl.Message) -> None:
    """Forwards each piece of text as it comes."""
    said = cl.Message(content="")
    stream = await client.chat.completions.create(model="bench", messages=cl.chat_context.to_openai(), stream=True)
    async for part in stream:
        # The last part has the usage and no choice.
        if part.choices and (token := part.choices[0].delta.content):
            await said.stream_token(token)
    await said.update()
