//! Real clients that come by TLS, with HTTP/2 and HTTP/1.1. They believe the authority that the server
//! made for its local names, and nobody else.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use super::{HOST, WEBSOCKETS, is_installed, python, reported, serving_with};
use crate::host::{Ran, TestHost, wait_for};

/// The app behind a TLS listener.
struct Secure {
    host: TestHost,
    /// Where the listener is.
    address: String,
    /// Who signed the certificate.
    authority: PathBuf,
}

impl Secure {
    fn start() -> Self {
        let host = serving_with(&[("DOZEN_LISTEN_HTTPS", "127.0.0.1:0")]);
        let info = host.dozen(["server", "status", "--json"]).succeeds().json();
        let address = info["listen_https"][0].as_str().expect("an address for HTTPS").to_owned();
        let authority = host.home().join("authority.pem");
        let printed = host.dozen(["certs", "trust", "--print"]).succeeds().stdout;
        std::fs::write(&authority, printed).expect("a file");
        let secure = Self { host, address, authority };
        wait_for("a certificate", Duration::from_secs(30), || {
            let ran = secure.curl(&["--output", "/dev/null", &secure.url("/")]);
            (ran.status == 0).then_some(())
        });
        secure
    }

    fn port(&self) -> &str {
        self.address.rsplit(':').next().expect("a port")
    }

    fn url(&self, path: &str) -> String {
        format!("https://{HOST}:{}{path}", self.port())
    }

    fn authority(&self) -> &str {
        self.authority.to_str().expect("a path in UTF-8")
    }

    fn curl(&self, words: &[&str]) -> Ran {
        let resolve = format!("{HOST}:{}:127.0.0.1", self.port());
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "30", "--noproxy", "*", "--resolve", &resolve, "--cacert"]);
        command.arg(&self.authority).args(words).current_dir(self.host.home()).env("HOME", self.host.home());
        Ran::from(command.output().expect("curl"))
    }
}

#[test]
fn curl_uploads_resumes_and_keeps_its_connection_over_tls() {
    if !is_installed("curl") {
        return;
    }
    let secure = Secure::start();
    let home = secure.host.home();
    std::fs::write(home.join("upload"), vec![b'u'; 3 << 20]).expect("a file to upload");
    for (version, told) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let curl = |words: &[&str]| secure.curl(&[&[version], words].concat()).succeeds();
        let to = secure.url("/upload");
        let length = format!("{} ", 3 << 20);
        let sized = curl(&["-H", "Expect:", "--data-binary", "@upload", &to]).stdout;
        assert!(sized.starts_with(&format!("length {length}")), "{version}: {sized}");
        // Over HTTP/2 a body without a length needs no word for it.
        let chunked =
            curl(&["-H", "Content-Length:", "-H", "Transfer-Encoding: chunked", "-T", "upload", &to]).stdout;
        assert_eq!(chunked, sized.replace("length", "chunked"), "{version}");

        let file = secure.url("/file");
        curl(&["-o", "whole", &file]);
        let whole = std::fs::read(home.join("whole")).expect("the file");
        std::fs::write(home.join("half"), &whole[..300_000]).expect("a part of it");
        curl(&["-C", "-", "-o", "half", &file]);
        assert!(
            std::fs::read(home.join("half")).expect("the file") == whole,
            "what was missing was appended"
        );
        let head = curl(&["-I", &file]).stdout.to_ascii_lowercase();
        assert!(head.contains("content-length: 1048576"), "{head}");

        let pages: Vec<String> = (0..5).map(|number| secure.url(&format!("/{number}"))).collect();
        let form = "%{http_version} %{num_connects}\n";
        let words: Vec<&str> = ["-w", form].into_iter().chain(pages.iter().map(String::as_str)).collect();
        let kept = curl(&words).stdout;
        let of = |number| format!("GET /{number}\n{told} {}\n", u8::from(number == 0));
        assert_eq!(kept, (0..5).map(of).collect::<String>());
    }
}

#[test]
fn h2load_meets_no_error() {
    if !is_installed("h2load") {
        return;
    }
    let secure = Secure::start();
    std::fs::write(secure.host.home().join("body"), vec![b'u'; 20_000]).expect("a body");
    for body in [&[][..], &["-d", "body"]] {
        let mut command = Command::new("h2load");
        command.args(["-n", "600", "-c", "4", "-m", "32", "--connect-to", &secure.address]).args(body);
        command.arg(secure.url("/")).current_dir(secure.host.home()).stdin(Stdio::null());
        let ran = Ran::from(command.output().expect("h2load")).succeeds();
        assert!(ran.stdout.contains("600 succeeded, 0 failed, 0 errored"), "{}", ran.stdout);
        assert!(ran.stdout.contains("status codes: 600 2xx"), "{}", ran.stdout);
        assert!(ran.stdout.contains("Application protocol: h2"), "{}", ran.stdout);
    }
}

const HTTPX: &str = r#"
import asyncio, httpx, ssl, sys

async def parts():
    for _ in range(30):
        yield b"u" * 10_000

async def main(origin, ca):
    trusted = ssl.create_default_context(cafile=ca)
    async with httpx.AsyncClient(http2=True, verify=trusted, trust_env=False, timeout=30) as client:
        pages = await asyncio.gather(*(client.get(f"{origin}/{n}") for n in range(100)))
        assert [page.text for page in pages] == [f"GET /{n}\n" for n in range(100)]
        assert {page.http_version for page in pages} == {"HTTP/2"}
        sized = await client.post(f"{origin}/upload", content=b"u" * 300_000)
        chunked = await client.post(f"{origin}/upload", content=parts())
        print(sized.text.split()[:2], chunked.text.split()[:2])
        async with client.stream("GET", f"{origin}/events") as events:
            print([line async for line in events.aiter_lines() if line])
        file = await client.get(f"{origin}/file", headers={"range": "bytes=1000-"})
        print(file.status_code, len(file.content))

asyncio.run(main(*sys.argv[1:]))
"#;

#[test]
fn libraries_of_python_talk_through_tls() {
    let secure = Secure::start();
    let packages = ["websockets==15.0.1", "httpx[http2]==0.28.1"];
    let uri = format!("wss://{HOST}:{}/socket", secure.port());
    let echoed = python(&secure.host, &packages, WEBSOCKETS, &[&uri, secure.authority()]);
    assert_eq!(echoed.stdout, "all echoed\n");
    let asked = python(&secure.host, &[], HTTPX, &[&secure.url(""), secure.authority()]);
    assert_eq!(
        asked.stdout,
        "['length', '300000'] ['chunked', '300000']\n['data: 0', 'data: 1', 'data: 2']\n206 1047576\n"
    );
}

const NODE: &str = r#"
const http2 = require("node:http2"), fs = require("node:fs");
const [address, host, ca] = process.argv.slice(1);
const session = http2.connect(`https://${address}`, { ca: fs.readFileSync(ca), servername: host.split(":")[0] });
const ask = (fields, body = []) => new Promise((done, failed) => {
  const stream = session.request({ ":authority": host, ...fields });
  let [status, text] = [0, ""];
  stream.setEncoding("utf8");
  stream.on("response", (head) => { status = head[":status"]; });
  stream.on("data", (part) => { text += part; });
  stream.on("end", () => done(`${status} ${text.trim()}`));
  stream.on("error", failed);
  body.forEach((part) => stream.write(part));
  stream.end();
});
(async () => {
  const pages = await Promise.all([...Array(100).keys()].map((n) => ask({ ":path": `/${n}` })));
  console.log(pages.every((page, n) => page === `200 GET /${n}`), session.alpnProtocol);
  const post = { ":method": "POST", ":path": "/upload" };
  const parts = Array(30).fill("u".repeat(10000));
  const uploads = [await ask(post, parts), await ask({ ...post, "content-length": 300000 }, parts)];
  console.log(uploads.map((told) => told.split(" ").slice(0, 3).join(" ")).join(", "));
  console.log(await ask({ ":method": "HEAD", ":path": "/file" }), await ask({ ":path": "/", cookie: ["a=1", "b=2"] }));
  session.close();
})().catch((why) => { console.log("failed", why); process.exit(1); });
"#;

#[test]
fn node_talks_http_2_through_the_router() {
    if !is_installed("node") {
        return;
    }
    let secure = Secure::start();
    let mut command = Command::new("node");
    command.args(["-e", NODE, &secure.address, &format!("{HOST}:{}", secure.port()), secure.authority()]);
    let ran = Ran::from(command.env("HOME", secure.host.home()).output().expect("node")).succeeds();
    assert_eq!(ran.stdout, "true h2\n200 chunked 300000, 200 length 300000\n200  200 GET /\n");
}

/// The digest of the certificate's key, as Chromium wants it.
fn digest_of_key(secure: &Secure) -> String {
    let script = "openssl s_client -connect \"$0\" -servername \"$1\" </dev/null 2>/dev/null |
        openssl x509 -noout -pubkey | openssl pkey -pubin -outform der |
        openssl dgst -sha256 -binary | openssl base64 -A";
    let output = Command::new("/bin/sh").args(["-c", script, &secure.address, HOST]).output();
    Ran::from(output.expect("openssl")).succeeds().stdout
}

#[test]
fn a_browser_gets_a_page_its_events_and_a_websocket_through_http_2() {
    if !is_installed("chromium") || !is_installed("openssl") {
        return;
    }
    let secure = Secure::start();
    let believed = format!("--ignore-certificate-errors-spki-list={}", digest_of_key(&secure));
    let reported = reported(&secure.host, &[&believed, &secure.url("/page")]);
    assert_eq!(reported, "h2: echo hello, events 0,1,2, pages 30, upload length 300000");
}
