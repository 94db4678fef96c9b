//! A command on a terminal of 24 by 80, and a hand at its keys.

use std::process::Command;

use crate::host::TestHost;

/// `watch(command, look)` runs the command; `look(fd, drawn)` is called with all that it has drawn so
/// far, whenever there is more, and may press keys, resize, or add marks of its own.
const WATCH: &str = r#"
import fcntl, os, pty, signal, struct, sys, termios
signal.alarm(60)
def resize(fd, rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
def watch(command, look):
    pid, fd = pty.fork()
    if pid == 0:
        resize(0, 24, 80)
        os.execv(command[0], command)
    drawn = bytearray()
    while True:
        try:
            piece = os.read(fd, 4096)
        except OSError:
            break
        if not piece:
            break
        drawn += piece
        look(fd, drawn)
    sys.stdout.buffer.write(drawn)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

/// Python that runs `dozen WORDS` by `watch`: its `sys.argv` is `own` words for the script, then that
/// command.
pub(crate) fn on_a_terminal(host: &TestHost, script: &str, own: &[&str], words: &[&str]) -> Command {
    let dozen = host.command(words.iter().copied());
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", &format!("{WATCH}{script}")]).args(own).arg(dozen.get_program()).args(words);
    for (name, value) in dozen.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
}
