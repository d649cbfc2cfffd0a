"""aiohttp: /fail answers 500, /wait/N after N ms, /chunked in chunks, anything else "hello". SIGTERM ends it."""

import asyncio
import sys

from aiohttp import web


async def answer(request):
    await request.read()
    if request.path.startswith("/wait/"):
        await asyncio.sleep(int(request.path[6:]) / 1000)
    if request.path == "/chunked":
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"hel")
        await response.write(b"lo\n")
        await response.write_eof()
        return response
    return web.Response(text="hello\n", status=500 if request.path == "/fail" else 200)


app = web.Application(client_max_size=1 << 30)
app.router.add_route("*", "/{path:.*}", answer)
web.run_app(app, host=None, port=int(sys.argv[1]), print=None, access_log=None, keepalive_timeout=60)
