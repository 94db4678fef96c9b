//! Each wall, from inside.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
};

use dozen_sandbox::{
    client::{self, LaunchMode},
    spec::{Bind, Limits, Network, OverlayUpper},
    state::{ExitStatus, shell_status},
    support::support,
};

use crate::host::{Host, PYTHON, User, users, wait_for};

/// What `os.strerror`-free Python says about an attempt: `ok` or the name of the error.
const ATTEMPT: &str = "
import errno, os, sys
def attempt(what, *given):
    try: what(*given); return 'ok'
    except OSError as e: return errno.errorcode[e.errno]
";

fn attempts(program: &str) -> String {
    format!("{ATTEMPT}{program}")
}

fn each_user(claim: impl Fn(&Host)) {
    for user in users() {
        claim(&Host::new(user));
    }
}

#[test]
fn an_app_cannot_write_its_own_release_nor_anything_of_the_host() {
    each_user(|host| {
        let program = "for p in ['/app/file', '/app/new', '/usr/new', '/etc/passwd', '/new', '/dev/new', '/run/new']:\n \
             print(p, attempt(open, p, 'a'))";
        let output = host.output_of(&host.python(&attempts(program)));
        for line in output.lines() {
            assert!(line.ends_with(" EROFS") || line.ends_with(" EACCES"), "{:?}: {output}", host.user);
        }
        assert!(output.contains("/app/new EROFS") && output.contains("/new EROFS"), "{output}");
        assert_eq!(fs::read_to_string(host.path("release/file")).unwrap(), "as built\n");
    });
}

#[test]
fn an_overlay_of_layers_is_read_only_and_upper_layers_hide_lower_ones() {
    each_user(|host| {
        host.dir("assets");
        host.write("assets/style.css", "body");
        host.write("assets/file", "from above");
        let program =
            "print(open('/app/file').read(), open('/app/style.css').read(), attempt(open, '/app/file', 'a'))";
        let mut spec = host.python(&attempts(program));
        spec.walls.app.push(host.path("assets"));
        assert_eq!(host.output_of(&spec), "from above body EROFS\n", "{:?}", host.user);
    });
}

#[test]
fn what_an_asset_step_writes_goes_to_the_upper_directory() {
    each_user(|host| {
        let [upper, work] = ["upper", "work"].map(|name| {
            let path = host.dir(name);
            std::os::unix::fs::chown(&path, Some(host.app_user.uid), Some(host.app_user.gid)).unwrap();
            path
        });
        let mut spec = host.python("open('/app/asset', 'w').write('made')");
        spec.walls.app_upper = Some(OverlayUpper { upper: upper.clone(), work });
        // The layer's root is copied up with its owner; a new file in it needs the right to write there.
        fs::set_permissions(host.path("release"), Permissions::from_mode(0o777)).unwrap();
        fs::set_permissions(&upper, Permissions::from_mode(0o777)).unwrap();
        host.output_of(&spec);
        assert_eq!(fs::read_to_string(upper.join("asset")).unwrap(), "made");
        assert!(!host.path("release/asset").exists());
    });
}

#[test]
fn a_dependency_step_writes_to_its_directory() {
    each_user(|host| {
        let build = host.dir("build");
        fs::set_permissions(&build, Permissions::from_mode(0o777)).unwrap();
        let mut spec = host.python("open('/app/made', 'w').write('x')");
        (spec.walls.app, spec.walls.app_dir) = (Vec::new(), Some(build.clone()));
        host.output_of(&spec);
        assert!(build.join("made").exists());
    });
}

#[test]
fn an_app_sees_no_process_but_its_own() {
    each_user(|host| {
        let program = "print(os.getpid(), sorted(int(p) for p in os.listdir('/proc') if p.isdigit()))";
        let output = host.output_of(&host.python(&attempts(program)));
        assert_eq!(output, "2 [1, 2]\n", "{:?}", host.user);
    });
}

#[test]
fn a_step_without_network_reaches_itself_and_nothing_else() {
    use std::os::linux::net::SocketAddrExt as _;
    let outside = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = outside.local_addr().unwrap().port();
    let name = format!("dozen-test-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _abstract = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
    let program = format!(
        "import socket\n\
         unix = socket.socket(socket.AF_UNIX)\n\
         print(attempt(socket.create_connection, ('127.0.0.1', {port})), \
               attempt(unix.connect, '\\0{name}'), \
               attempt(socket.create_connection, ('192.0.2.1', 80)), \
               sorted(n for _, n in socket.if_nameindex() if not n.endswith('0')))\n\
         for family, at in (socket.AF_INET, '127.0.0.1'), (socket.AF_INET6, '::1'):\n \
             own = socket.create_server((at, 0), family=family)\n \
             print(at, attempt(socket.create_connection, own.getsockname()[:2]))\n"
    );
    each_user(|host| {
        let mut spec = host.python(&attempts(&program));
        spec.walls.network = Network::Empty;
        let output = host.output_of(&spec);
        let expected = "ECONNREFUSED ECONNREFUSED ENETUNREACH ['lo']\n127.0.0.1 ok\n::1 ok\n";
        assert_eq!(output, expected, "{:?}", host.user);
        assert!(host.state().walls.iter().any(|wall| wall == "empty network"));
        spec.walls.network = Network::Host;
        let log = host.log_text();
        let with_network = host.output_of(&spec).replacen(&log, "", 1);
        assert!(with_network.starts_with("ok ok "), "{with_network}");
    });
}

#[test]
fn an_app_cannot_look_into_init() {
    each_user(|host| {
        let program = "print(*(attempt(open, '/proc/1/' + f, 'rb') for f in ['mem', 'environ', 'maps']), \
             attempt(os.listdir, '/proc/1/fd'), attempt(os.readlink, '/proc/1/cwd'))";
        let output = host.output_of(&host.python(&attempts(program)));
        assert!(output.split_whitespace().all(|word| word == "EACCES" || word == "EPERM"), "{output}");
    });
}

#[test]
fn an_app_cannot_kill_init() {
    each_user(|host| {
        let program = "import signal\nfor s in range(1, 65):\n attempt(os.kill, 1, s)\nprint('alive')";
        assert_eq!(host.output_of(&host.python(&attempts(program))), "alive\n");
    });
}

#[test]
fn an_app_runs_as_the_user_that_was_given_and_in_no_other_group() {
    each_user(|host| {
        let program = "print(os.getresuid(), os.getresgid(), os.getgroups())";
        let output = host.output_of(&host.python(&attempts(program)));
        let (uid, gid) = (host.app_user.uid, host.app_user.gid);
        assert_eq!(output, format!("({uid}, {uid}, {uid}) ({gid}, {gid}, {gid}) []\n"), "{:?}", host.user);
    });
}

#[test]
fn an_app_has_no_capability_and_can_gain_none() {
    each_user(|host| {
        let program = "print(*(l.split(':')[1].strip() for l in open('/proc/self/status') \
             if l.startswith(('Cap', 'NoNewPrivs'))))";
        let output = host.output_of(&host.python(program));
        let none = "0000000000000000";
        assert_eq!(output, format!("{none} {none} {none} {none} {none} 1\n"), "{:?}", host.user);
    });
}

#[test]
fn an_app_cannot_mount_or_rename_the_host() {
    each_user(|host| {
        let program = "import ctypes, socket\nc = ctypes.CDLL(None, use_errno=True)\n\
             print(c.mount(b'none', b'/tmp', b'tmpfs', 0, b''), errno.errorcode[ctypes.get_errno()])\n\
             print(attempt(socket.sethostname, 'x'), socket.gethostname())";
        let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(host.output_of(&host.python(&attempts(program))), "-1 EPERM\nEPERM web-1\n");
        assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
    });
}

#[test]
fn shared_memory_of_the_host_is_not_visible() {
    each_user(|host| {
        let mine = fs::read_link("/proc/self/ns/ipc").unwrap();
        let output = host.output_of(
            &host.python("import os; print(os.readlink('/proc/self/ns/ipc'), os.listdir('/dev/shm'))"),
        );
        assert!(!output.contains(mine.to_str().unwrap()) && output.ends_with("[]\n"), "{output}");
    });
}

#[test]
fn the_size_of_tmp_bites() {
    each_user(|host| {
        let program = "f = open('/tmp/big', 'wb', 0)\nprint(attempt(lambda: [f.write(b'x' * 65536) for _ in range(128)]), f.tell())";
        let output = host.output_of(&host.python(&attempts(program)));
        assert_eq!(output, format!("ENOSPC {}\n", 4 << 20), "{:?}", host.user);
    });
}

#[test]
fn the_hosts_files_are_not_visible() {
    each_user(|host| {
        let secret = host.write("secret", "x");
        let program = format!(
            "print(sorted(os.listdir('/')))\n\
             print(*(attempt(os.stat, p) for p in ['/root', '/home', '/var', '/etc/shadow', '/sys', '{}']))\n\
             print(open('/etc/passwd').read(), end='')",
            secret.display()
        );
        let output = host.output_of(&host.python(&attempts(&program)));
        let lines: Vec<&str> = output.lines().collect();
        assert_eq!(lines[1], "ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT", "{:?}: {output}", host.user);
        assert_eq!(lines[2], format!("app:x:{}:{}:app:/tmp:/bin/sh", host.app_user.uid, host.app_user.gid));
        assert_eq!(lines.len(), 5, "{output}");
        assert!(
            lines[0].starts_with("['app', 'bin', 'dev', 'etc', 'lib',") && !lines[0].contains("root"),
            "{output}"
        );
    });
}

#[test]
fn an_app_inherits_standard_streams_and_nothing_else() {
    each_user(|host| {
        // Listing opens one itself.
        let program = "fds = sorted(int(f) for f in os.listdir('/proc/self/fd')); \
             print([f for f in fds if attempt(os.fstat, f) == 'ok'], os.readlink('/proc/self/fd/0'))";
        assert_eq!(host.output_of(&host.python(&attempts(program))), "[0, 1, 2] /dev/null\n");
    });
}

#[test]
fn an_app_starts_with_default_signals_its_own_session_and_only_its_own_environment() {
    each_user(|host| {
        let program = "import signal\nprint(os.getsid(0) == os.getpid(), signal.pthread_sigmask(0, []), oct(os.umask(0)), \
             os.getcwd(), sorted(os.environ.keys() - {'LC_CTYPE'}))\n\
             print(*(l.split()[1] for l in open('/proc/self/status') if l.startswith(('SigBlk', 'SigIgn'))))";
        let mut spec = host.python(&attempts(program));
        // Python itself ignores two signals; a shell's child shows what was inherited.
        let output = host.output_of(&spec);
        assert!(output.starts_with("True set() 0o22 /app ['HOME', 'PATH'"), "{output}");
        spec.command.argv = ["grep", "SigIgn", "/proc/self/status"].map(Into::into).to_vec();
        let output = host.output_of(&spec);
        let ignored = u64::from_str_radix(output.trim_end().rsplit('\t').next().unwrap(), 16).unwrap();
        // The C library keeps 32 and 33 for itself; they can come from whoever runs the tests.
        assert_eq!(ignored & !(0b11 << 31), 0, "{output}");
    });
}

#[test]
fn names_and_certificates_can_be_looked_up() {
    each_user(|host| {
        let program = "import pwd, socket, os\nprint(pwd.getpwuid(os.getuid()).pw_name, socket.gethostbyname('localhost'), \
             socket.gethostbyname(socket.gethostname()), os.path.exists('/etc/resolv.conf'), os.path.isdir('/etc/ssl/certs'), \
             os.path.exists('/etc/ssl/private'))";
        assert_eq!(host.output_of(&host.python(program)), "app 127.0.0.1 127.0.0.1 True True False\n");
    });
}

#[test]
fn a_volume_is_mounted_where_the_image_has_no_directory() {
    each_user(|host| {
        let media = host.dir("media");
        fs::set_permissions(&media, Permissions::from_mode(0o777)).unwrap();
        let runtime = host.dir("runtime");
        let tool = host.write("runtime/tool", "made");
        fs::set_permissions(tool, Permissions::from_mode(0o666)).unwrap();
        let program = "open('/app/public/media/upload', 'w').write('kept')\n\
             print(open('/opt/run/time/tool').read(), attempt(open, '/opt/run/time/tool', 'a'), open('/app/file').read().strip())";
        let mut spec = host.python(&attempts(program));
        spec.walls.binds = vec![
            Bind { source: runtime, target: "/opt/run/time".into(), writable: false },
            Bind { source: media.clone(), target: "/app/public/media".into(), writable: true },
        ];
        assert_eq!(host.output_of(&spec), "made EROFS as built\n", "{:?}", host.user);
        assert_eq!(fs::read_to_string(media.join("upload")).unwrap(), "kept");
        assert!(!host.path("release/public").exists());
    });
}

#[test]
fn a_link_in_a_layer_cannot_move_a_mount() {
    each_user(|host| {
        let media = host.dir("media");
        host.dir("release/elsewhere");
        symlink("/etc", host.path("release/media")).unwrap();
        symlink("elsewhere", host.path("release/near")).unwrap();
        for target in ["/app/media", "/app/media/below", "/app/near", "/app/near/below"] {
            let mut spec = host.python("print(1)");
            spec.walls.binds = vec![Bind { source: media.clone(), target: target.into(), writable: true }];
            let (state, output) = host.run(&spec);
            assert_eq!(state.last_exit.unwrap().status, ExitStatus::LaunchFailed, "{output}");
            let reason = state.launch_error.unwrap();
            assert!(reason.starts_with(&format!("could not make `{target}` to mount on: ")), "{reason}");
        }
    });
}

#[test]
fn a_launch_that_cannot_be_says_which_step_and_why() {
    each_user(|host| {
        let reason_of = |spec| {
            let (state, _) = host.run(&spec);
            assert_eq!(state.last_exit.unwrap().status, ExitStatus::LaunchFailed);
            state.launch_error.unwrap()
        };
        let missing = "No such file or directory (os error 2)";
        let gunicorn = reason_of(host.spec(&["gunicorn", "--bind", "secret"]));
        assert_eq!(gunicorn, "could not find the program `gunicorn` in `PATH`");
        assert_eq!(shell_status(&gunicorn), Some(127));
        assert_eq!(reason_of(host.spec(&["/app/no"])), "could not find the program `/app/no`");
        let not_executable = reason_of(host.spec(&["/app/file"]));
        assert_eq!(not_executable, "could not execute `/app/file`: Permission denied (os error 13)");
        assert_eq!(shell_status(&not_executable), Some(126));
        host.write("release/script", "#!/opt/no/python\n");
        fs::set_permissions(host.path("release/script"), Permissions::from_mode(0o755)).unwrap();
        let interpreter = reason_of(host.spec(&["./script"]));
        assert!(interpreter.contains("whose interpreter is not inside the walls"), "{interpreter}");
        assert_eq!(shell_status(&interpreter), Some(126));
        let mut spec = host.spec(&["true"]);
        spec.command.cwd = "/app/nowhere".into();
        assert_eq!(
            reason_of(spec),
            format!("could not enter the working directory `/app/nowhere`: {missing}")
        );
        let mut spec = host.spec(&["true"]);
        spec.walls.app.push("/no/such/layer".into());
        assert_eq!(reason_of(spec), format!("could not open the layer `/no/such/layer`: {missing}"));
    });
}

#[test]
fn limits_reach_the_app() {
    each_user(|host| {
        let program = "import resource as r\nprint(r.getrlimit(r.RLIMIT_NOFILE), r.getrlimit(r.RLIMIT_CORE))";
        let mut spec = host.spec(&[PYTHON, "-c", program]);
        spec.limits = Limits { open_files: Some(77), ..Limits::default() };
        assert_eq!(host.output_of(&spec), "(77, 77) (0, 0)\n");
    });
}

#[test]
fn config_is_bytes_and_reaches_nobody_but_the_app() {
    each_user(|host| {
        let mut spec = host.python("import os, time; print(os.environb[b'KEY'], flush=True); time.sleep(60)");
        spec.command.env.push(("KEY".into(), vec![0xff, b'\n', b's', b'3', b'c'].into()));
        let kept = host.start(&spec);
        let state = kept.until_running();
        wait_for("the line", || host.log_text().contains("b'\\xff\\ns3c'").then_some(()));
        let needle = b"\xff\ns3c";
        for process in [state.shim.pid, state.init.unwrap().pid] {
            for file in ["cmdline", "environ"] {
                let seen = fs::read(format!("/proc/{process}/{file}")).unwrap_or_default();
                assert!(!seen.windows(needle.len()).any(|window| window == needle), "{file}");
            }
        }
        let json = fs::read_to_string(host.instance().join("state.json")).unwrap();
        assert!(!json.contains("s3c") && !json.contains("KEY"));
        wait_for("init to have wiped its copy", || (!holds(state.init.unwrap().pid, needle)).then_some(()));
    });
}

/// Whether a process's writable memory has these bytes. Needs root; says no without.
fn holds(pid: u32, needle: &[u8]) -> bool {
    use std::os::unix::fs::FileExt as _;
    let Ok(memory) = fs::File::open(format!("/proc/{pid}/mem")) else { return false };
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    maps.lines().filter(|line| line.contains(" rw")).any(|line| {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let [start, end] = [start, end].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        let mut bytes = vec![0; (end - start) as usize];
        memory.read_at(&mut bytes, start).is_ok()
            && bytes.windows(needle.len()).any(|window| window == needle)
    })
}

#[test]
fn an_ordinary_user_cannot_run_an_app_as_somebody_else() {
    let host = Host::new(User::Ordinary);
    let mut spec = host.spec(&["true"]);
    spec.walls.user.uid = 1;
    let refused = client::spawn_shim(&host.binary, &host.instance(), &spec, LaunchMode::Start).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the shim of `web.1` gave up: an ordinary user can only run an app as itself"
    );
}

#[test]
fn an_app_never_runs_as_root() {
    let host = Host::new(users()[0]);
    let mut spec = host.spec(&["true"]);
    spec.walls.user.uid = 0;
    let refused = client::spawn_shim(&host.binary, &host.instance(), &spec, LaunchMode::Start).unwrap_err();
    assert_eq!(refused.to_string(), "the launch of `web.1` is not possible: an app never runs as root");
}

#[test]
fn the_walls_that_can_stand_here_are_tried_out() {
    each_user(|host| {
        let found = support(&host.binary).unwrap();
        let walls = found.iter().find(|wall| wall.name == "walls").unwrap();
        assert!(walls.available && walls.reason.is_none(), "{found:?}");
        assert!(found.iter().any(|wall| wall.name.starts_with("overlay") && wall.available), "{found:?}");
    });
}
