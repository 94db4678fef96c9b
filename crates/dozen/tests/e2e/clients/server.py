"""An app for real clients: a page, files in ranges, uploads, events and a WebSocket that echoes."""

import base64
import hashlib
import os
import signal
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

FILE = bytes(range(256)) * 4096
reports = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body, status=200, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        if self.headers.get("Upgrade", "").lower() == "websocket":
            self.websocket()
        elif self.path == "/page":
            with open("page.html", "rb") as page:
                self.answer(page.read(), Content_Type="text/html")
        elif self.path == "/events":
            self.events()
        elif self.path == "/slow":
            time.sleep(1)
            self.answer(b"late")
        elif self.path == "/file":
            self.file()
        elif self.path == "/reported":
            self.answer("\n".join(reports).encode())
        else:
            self.answer(f"{self.command} {self.path}\n".encode())

    do_HEAD = do_GET

    def file(self):
        wanted = self.headers.get("Range")
        if wanted is None:
            return self.answer(FILE, Accept_Ranges="bytes")
        start = int(wanted.removeprefix("bytes=").partition("-")[0])
        size = len(FILE)
        return self.answer(FILE[start:], 206, Content_Range=f"bytes {start}-{size - 1}/{size}")

    def events(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(3):
            event = f"data: {number}\n\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
        self.wfile.write(b"0\r\n\r\n")

    def body(self):
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def do_POST(self):
        body = self.body()
        if self.path == "/report":
            reports.append(body.decode())
        framing = self.headers.get("Transfer-Encoding", "length")
        self.answer(f"{framing} {len(body)} {hashlib.sha256(body).hexdigest()}\n".encode())

    do_PUT = do_POST

    def websocket(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        self.close_connection = True
        while True:
            head = self.rfile.read(2)
            if len(head) < 2:
                return
            kind, length = head[0], head[1] & 127
            if length == 126:
                (length,) = struct.unpack("!H", self.rfile.read(2))
            elif length == 127:
                (length,) = struct.unpack("!Q", self.rfile.read(8))
            mask = self.rfile.read(4)
            text = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.rfile.read(length)))
            if kind & 15 == 10:
                continue
            if length < 126:
                size = bytes([length])
            elif length < 65536:
                size = b"\x7e" + struct.pack("!H", length)
            else:
                size = b"\x7f" + struct.pack("!Q", length)
            # A ping is answered by a pong.
            self.wfile.write(bytes([0x8A if kind & 15 == 9 else kind]) + size + text)
            if kind & 15 == 8:
                return

    def log_message(self, form, *rest):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


server = Server(("127.0.0.1", int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
server.server_close()
