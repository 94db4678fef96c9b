//! Streams of requests from a seed: valid, odd and broken ones.
//!
//! What a valid one must become at the app is known here; of a broken one nothing is known.

use super::case::LAST;

/// So many bytes at least follow the requests of a stream: what swallows a little of what follows
/// comes to an end all the same.
const TAILS: usize = 8;

/// Numbers from a seed (SplitMix64).
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn from(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`, which is not 0.
    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap()
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.below(count) == 0
    }

    fn choose<'t, T: ?Sized>(&mut self, from: &[&'t T]) -> &'t T {
        from[self.below(from.len())]
    }
}

/// The bytes of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) bytes: Vec<u8>,
    /// The requests before the first broken one, as the app must see them.
    pub(crate) known: Vec<String>,
    /// Whether none is broken.
    pub(crate) is_valid: bool,
}

impl Stream {
    /// The stream with this number.
    pub(crate) fn of(numbers: &mut Numbers, number: usize) -> Self {
        let mut stream = Self { bytes: Vec::new(), known: Vec::new(), is_valid: true };
        for turn in 0..=numbers.below(3) {
            let mut request = Request::of(numbers, number * 10 + turn);
            if numbers.one_in(2) {
                request.break_something(numbers);
                stream.is_valid = false;
            } else if stream.is_valid {
                stream.known.push(request.seen());
            }
            stream.bytes.extend(request.bytes());
        }
        if stream.is_valid {
            stream.known.push("GET /last".to_owned());
        }
        for _ in 0..TAILS {
            stream.bytes.extend_from_slice(LAST);
        }
        stream
    }
}

/// One request, in the pieces it is broken in.
struct Request {
    line: Vec<u8>,
    headers: Vec<Vec<u8>>,
    /// As it is framed.
    body: Vec<u8>,
    /// What the app gets of it, behind method and target.
    content: String,
    target: String,
    method: &'static str,
    /// What ends each line.
    ends: Vec<&'static [u8]>,
}

impl Request {
    fn of(numbers: &mut Numbers, id: usize) -> Self {
        let method = numbers.choose(&["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"]);
        let tail = numbers.choose(&["", "?a=b&c", "/%2e%2e//x", "?x=http://two.test/", ";p=1"]);
        let target = format!("/r{id}{tail}");
        let sent = if numbers.one_in(6) { format!("http://one.test{target}") } else { target.clone() };
        let mut headers = vec![b"Host: one.test".to_vec()];
        for _ in 0..numbers.below(4) {
            let header = numbers.choose(&[
                "X-A: b",
                "Accept: */*",
                "X-Empty:",
                "Cookie: a=b; c=d",
                "X-Long:   spaced out  ",
                "TE: trailers",
                "Connection: keep-alive",
                "Connection: x-a",
                "X-Smuggled: GET /smuggled HTTP/1.1",
                "Expect: 100-continue",
                "Upgrade: h2c",
                "X-Number: 0",
            ]);
            if !headers.contains(&header.into()) {
                headers.push(header.into());
            }
        }
        let plain = plain_body(numbers);
        let (content, body, framing) = match numbers.below(3) {
            0 => (String::new(), Vec::new(), None),
            1 => (
                format!(" length {plain}"),
                plain.clone().into(),
                Some(format!("Content-Length: {}", plain.len())),
            ),
            _ => (
                format!(" chunked {plain}"),
                in_chunks(numbers, plain.as_bytes()),
                Some("Transfer-Encoding: chunked".to_owned()),
            ),
        };
        if let Some(framing) = framing {
            let at = numbers.below(headers.len() + 1);
            headers.insert(at, framing.into());
        }
        let ends = vec![&b"\r\n"[..]; headers.len() + 2];
        let line = format!("{method} {sent} HTTP/1.1").into();
        Self { line, headers, body, content, target, method, ends }
    }

    /// As a verdict names it.
    fn seen(&self) -> String {
        format!("{} {}{}", self.method, self.target, self.content)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut ends = self.ends.iter();
        let mut bytes = Vec::new();
        for line in std::iter::once(&self.line).chain(&self.headers).chain([&Vec::new()]) {
            bytes.extend_from_slice(line);
            bytes.extend_from_slice(ends.next().unwrap_or(&&b"\r\n"[..]));
        }
        bytes.extend_from_slice(&self.body);
        bytes
    }

    fn break_something(&mut self, numbers: &mut Numbers) {
        match numbers.below(12) {
            0 => mutate(numbers, &mut self.line),
            1..=2 => {
                let at = numbers.below(self.headers.len());
                mutate(numbers, &mut self.headers[at]);
            }
            3 => {
                let at = numbers.below(self.ends.len());
                self.ends[at] = numbers.choose(&[
                    &b"\n"[..],
                    b"\r",
                    b"\r\r\n",
                    b"\n\r",
                    b"",
                    b"\r\n ",
                    b" \r\n",
                    b"\0\r\n",
                ]);
            }
            4 => {
                // nginx takes a second `Expect` for an attack, and it is none.
                let twice = self.headers[numbers.below(self.headers.len())].clone();
                if !twice.starts_with(b"Expect") {
                    self.insert(numbers, twice);
                }
            }
            5..=6 => {
                let odd = numbers.choose(ODD_FRAMINGS);
                self.insert(numbers, odd.into());
            }
            7..=8 if !self.body.is_empty() => mutate(numbers, &mut self.body),
            9 => {
                let odd = numbers.choose(ODD_LINES);
                self.line = odd.replace('@', &self.target).into();
            }
            10 => {
                self.body.extend_from_slice(numbers.choose(&[&b"\r\n"[..], b"\n", b"X", b"0\r\n\r\n", b" "]))
            }
            _ => {
                let length = (self.body.len() + numbers.below(5)).saturating_sub(2);
                self.insert(numbers, format!("Content-Length: {length}").into());
            }
        }
    }

    fn insert(&mut self, numbers: &mut Numbers, header: Vec<u8>) {
        let at = numbers.below(self.headers.len() + 1);
        self.headers.insert(at, header);
        self.ends.push(b"\r\n");
    }
}

const ODD_FRAMINGS: &[&str] = &[
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding:\x0bchunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding:",
    "transfer-encoding: CHUNKED",
    " Transfer-Encoding: chunked",
    "Transfer_Encoding: chunked",
    "Content-Length: 0",
    "Content-Length: 5",
    "Content-Length: +5",
    "Content-Length: 5, 5",
    "Content-Length: 0x5",
    "Content-Length : 5",
    "Content-Length:",
    "Content-Length: 18446744073709551621",
    "Content_Length: 5",
    "Connection: content-length",
    "Connection: transfer-encoding, close",
    "Connection: Upgrade\r\nUpgrade: websocket",
    "Host: two.test",
    "Host: one.test",
    "X: y\r\n folded",
    "X: y\nContent-Length: 5",
    "X: y\rContent-Length: 5",
    ": x",
    "no colon",
];

/// `@` stands for the target.
const ODD_LINES: &[&str] = &[
    "GET @ HTTP/1.0",
    "POST @ HTTP/1.0",
    "GET @ HTTP/1.2",
    "GET @ HTTP/2.0",
    "GET @",
    "GET  @ HTTP/1.1",
    "GET @  HTTP/1.1",
    "GET @#x HTTP/1.1",
    "GET @ HTTP/1.1 ",
    " GET @ HTTP/1.1",
    "GET\t@ HTTP/1.1",
    "GET @ x HTTP/1.1",
    "get @ HTTP/1.1",
    "GET http://two.test@ HTTP/1.1",
    "GET ftp://one.test@ HTTP/1.1",
    "CONNECT one.test:80 HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "GET * HTTP/1.1",
    "\r\nGET @ HTTP/1.1",
    "\nGET @ HTTP/1.1",
];

/// What a body is made of; a request in it must stay in it.
fn plain_body(numbers: &mut Numbers) -> String {
    match numbers.below(5) {
        0 => String::new(),
        1 => "X".repeat(numbers.below(40)),
        2 => "0\r\n\r\n".to_owned(),
        3 => format!("GET /smuggled{} HTTP/1.1\r\nHost: one.test\r\n\r\n", numbers.below(100)),
        _ => format!(
            "{}\r\nPOST /smuggled HTTP/1.1\r\nHost: one.test\r\nContent-Length: 3\r\n\r\nABC",
            numbers.below(9)
        ),
    }
}

fn in_chunks(numbers: &mut Numbers, mut plain: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !plain.is_empty() {
        let (chunk, rest) = plain.split_at(1 + numbers.below(plain.len()));
        let zeros = "0".repeat(numbers.below(3));
        let extension = numbers.choose(&["", "", "", ";a=b", ";a=\"c\""]);
        bytes.extend(format!("{zeros}{:x}{extension}\r\n", chunk.len()).bytes());
        bytes.extend_from_slice(chunk);
        bytes.extend_from_slice(b"\r\n");
        plain = rest;
    }
    let trailer = numbers.choose(&["", "", "", "X-Sum: 1\r\n"]);
    bytes.extend(format!("0\r\n{trailer}\r\n").bytes());
    bytes
}

/// Changes a byte or two.
fn mutate(numbers: &mut Numbers, bytes: &mut Vec<u8>) {
    // No tab: nginx does not take it for the white space that it is.
    const ODD: &[u8] = b"\0\x01\x0b\x0c\r\n  ::;,+-\"0159aF\x7f\x80\xff";
    for _ in 0..=numbers.below(2) {
        let at = numbers.below(bytes.len() + 1);
        let odd = ODD[numbers.below(ODD.len())];
        match numbers.below(3) {
            0 => bytes.insert(at, odd),
            1 if at < bytes.len() => bytes[at] = odd,
            _ if at < bytes.len() => drop(bytes.remove(at)),
            _ => bytes.push(odd),
        }
    }
}
