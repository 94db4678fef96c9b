# Fetches one wheel from a package index with nothing but the standard library.
#
# Standard input has the request, so no password of an index stands in an argument or a variable.
# The caller checks the wheel's hash. What is printed names hosts and reasons, never a URL.
import base64, html.parser, json, netrc, ssl, sys, time, urllib.error, urllib.parse, urllib.request

LARGEST = 256 << 20
wish = json.load(sys.stdin)
until = time.monotonic() + wish["seconds"]


class Links(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.links = []

    def handle_starttag(self, tag, attributes):
        self.links += [value for name, value in attributes if tag == "a" and name == "href" and value]


def certificates():
    file = wish["certificates"]
    context = ssl.create_default_context(cafile=file)
    # A Python that was built elsewhere looks for them where this machine has none.
    if not file and not context.cert_store_stats()["x509_ca"]:
        try:
            context.load_verify_locations("/etc/ssl/certs/ca-certificates.crt")
        except OSError:
            pass
    return context


def login(url):
    parts = urllib.parse.urlsplit(url)
    if parts.username is not None:
        return urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
    try:
        known = netrc.netrc().authenticators(parts.hostname)
    except (OSError, netrc.NetrcParseError):
        known = None
    return known and (known[0], known[2])


def host_of(url):
    parts = urllib.parse.urlsplit(url)
    return parts.netloc.rpartition("@")[2]


def get(url, accept, known):
    parts = urllib.parse.urlsplit(url)
    plain = urllib.parse.urlunsplit(parts._replace(netloc=host_of(url)))
    request = urllib.request.Request(plain, headers={"Accept": accept, "User-Agent": "dozen"})
    if known:
        word = base64.b64encode(("%s:%s" % known).encode()).decode()
        # Not passed on to wherever the index sends us.
        request.add_unredirected_header("Authorization", "Basic " + word)
    with opener.open(request, timeout=30) as answer:
        body = bytearray()
        while chunk := answer.read(1 << 16):
            body += chunk
            if len(body) > LARGEST or time.monotonic() > until:
                raise TimeoutError("it took too long")
        return answer.geturl(), answer.headers.get_content_type(), bytes(body)


def links_of(page, kind, body):
    if kind.endswith("json"):
        found = [file["url"] for file in json.loads(body)["files"]]
    else:
        parser = Links()
        parser.feed(body.decode("utf-8", "replace"))
        found = parser.links
    return [urllib.parse.urljoin(page, link) for link in found]


def is_wheel(link):
    name = urllib.parse.unquote(urllib.parse.urlsplit(link).path.rpartition("/")[2])
    return name.startswith(wish["begins"]) and wish["platform"] in name and name.endswith(".whl")


def fetch(index):
    known = login(index)
    simple = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
    page, kind, body = get(index.rstrip("/") + "/" + wish["project"] + "/", simple, known)
    wheel = next(filter(is_wheel, links_of(page, kind, body)), None)
    if wheel is None:
        return "it does not have " + wish["begins"].rstrip("-")
    same = host_of(wheel) == host_of(index)
    _, _, body = get(wheel, "*/*", known if same else login(wheel))
    with open(wish["into"], "xb") as file:
        file.write(body)


opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=certificates()))
reasons = []
for index in wish["indexes"]:
    try:
        reason = fetch(index)
        if reason is None:
            sys.exit(0)
    except urllib.error.HTTPError as error:
        reason = "it answered %d" % error.code
    except urllib.error.URLError as error:
        reason = str(error.reason) if isinstance(error.reason, OSError) else type(error).__name__
    except OSError as error:
        reason = error.strerror or str(error)
    except Exception as error:
        # Its words may have a URL in them.
        reason = type(error).__name__
    reasons.append("%s: %s" % (host_of(index) or "an index", reason))
print("; ".join(reasons), file=sys.stderr)
sys.exit(1)
