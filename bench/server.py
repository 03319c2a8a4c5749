"""A local endpoint for the benches: answers every chat completion after a fixed delay, however many are in flight.

Run with `python bench/server.py --delay 2`; prints its port on the first line and serves until it is ended. The answer
keeps the schema of the teacher's three passes and takes the first candidate keyframe.
"""

from __future__ import annotations

import argparse
import asyncio
import json

TEXT = "From frame 0 on a grey shape moves slowly from the left to the right, and nothing else does."


def answer(body: bytes) -> bytes:
    """A completion for this request; reads only the schema, which stands at the end of the body."""
    start = body.rindex(b'"response_format"')
    schema = json.loads(b"{" + body[start:])["response_format"]["json_schema"]["schema"]
    value = {name: facts["enum"][0] if "enum" in facts else TEXT for name, facts in schema["properties"].items()}
    message = {"role": "assistant", "content": json.dumps(value)}
    usage = {"prompt_tokens": 1000, "completion_tokens": 100}
    return json.dumps({"choices": [{"finish_reason": "stop", "message": message}], "usage": usage}).encode()


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_s: float) -> None:
    """One kept connection."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.lower().split(b"\r\n")
            length = next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))
            body = await reader.readexactly(length)
            await asyncio.sleep(delay_s)
            content = answer(body)
            header = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
            writer.write(header.encode() + content)
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main(delay_s: float) -> None:
    server = await asyncio.start_server(lambda r, w: serve(r, w, delay_s), "127.0.0.1", 0, limit=1 << 20, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=float, default=2.0)
    asyncio.run(main(parser.parse_args().delay))
