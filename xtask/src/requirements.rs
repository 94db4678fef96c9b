//! What the tests need on the machine: tools that dozen or its example apps call.
//!
//! They are installed only when that was asked for, or in CI; otherwise the one command that does
//! it is shown.

use crate::task::{TaskError, command, find, is_ci, is_root, run};

/// A tool, the Debian package that brings it, and who needs it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    pub(crate) needed_for: &'static str,
}

/// What the tests need.
pub(crate) const FOR_TESTS: &[Tool] = &[
    Tool { name: "cc", package: "gcc", needed_for: "building the embedded database" },
    Tool { name: "certutil", package: "libnss3-tools", needed_for: "a browser that trusts our authority" },
    Tool { name: "chromium", package: "chromium", needed_for: "a browser through the router" },
    Tool { name: "curl", package: "curl", needed_for: "a client through the router" },
    Tool { name: "git", package: "git", needed_for: "deploys by push" },
    Tool { name: "h2load", package: "nghttp2-client", needed_for: "requests over HTTP/2" },
    Tool { name: "lego", package: "lego", needed_for: "an ACME client of others" },
    Tool { name: "mariadbd", package: "mariadb-server-core", needed_for: "apps with another database" },
    Tool { name: "mount", package: "mount", needed_for: "tests of full disks" },
    Tool { name: "nginx", package: "nginx-light", needed_for: "what another proxy makes of a request" },
    Tool { name: "node", package: "nodejs", needed_for: "apps in JavaScript" },
    Tool { name: "npm", package: "npm", needed_for: "apps in JavaScript" },
    Tool { name: "openssl", package: "openssl", needed_for: "TLS by a client of others" },
    Tool { name: "pebble", package: "pebble", needed_for: "an ACME server of others" },
    Tool { name: "postgres", package: "postgresql", needed_for: "apps with another database" },
    Tool { name: "python3", package: "python3", needed_for: "apps in Python" },
    Tool { name: "python3-config", package: "python3-dev", needed_for: "Python packages in C" },
    Tool { name: "pip3", package: "python3-pip", needed_for: "pinned tools that come as wheels" },
    Tool { name: "setpriv", package: "util-linux", needed_for: "tests as an ordinary user" },
    Tool { name: "wrk", package: "wrk", needed_for: "load through the router" },
];

/// Where tests find tools, also those run as an ordinary user: the folders of the system only,
/// nothing of the home of the user who started us.
pub(crate) const SYSTEM_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Makes sure that every one of `tools` is there, or tells how to get it.
pub(crate) fn provide(tools: &[Tool], install: bool) -> Result<(), TaskError> {
    let missing = missing(tools);
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    packages.dedup();
    let by_hand = format!("apt-get update && apt-get install -y {}", packages.join(" "));
    if !(install || is_ci()) {
        let why: Vec<String> =
            missing.iter().map(|tool| format!("  {:<9} {}", tool.name, tool.needed_for)).collect();
        let why = why.join("\n");
        return Err(TaskError::new(format!(
            "these tools are missing:\n{why}\nadd `--install`, or run as root:\n  {by_hand}"
        )));
    }
    if !is_root() {
        return Err(TaskError::new(format!("packages can only be installed by root; run\n  {by_hand}")));
    }
    let apt = |words: &[&str]| run(command("apt-get", words).env("DEBIAN_FRONTEND", "noninteractive"));
    apt(&["update"])?;
    apt(&[&["install", "-y", "--no-install-recommends"], packages.as_slice()].concat())?;
    let names: Vec<&str> = self::missing(tools).iter().map(|tool| tool.name).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(TaskError::new(format!("still missing after the installation: {}", names.join(", "))))
}

fn missing(tools: &[Tool]) -> Vec<&Tool> {
    // Tools of root live in the sbin folders too, and Debian keeps PostgreSQL's by their version.
    let mut path = format!("{SYSTEM_PATH}:/usr/sbin:/sbin");
    for version in std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten() {
        path.push_str(&format!(":{}", version.path().join("bin").display()));
    }
    tools.iter().filter(|tool| find(tool.name, &path).is_none()).collect()
}
