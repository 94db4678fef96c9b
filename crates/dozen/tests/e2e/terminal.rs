//! What a terminal shows of a deploy: the step under way with its log, and at the end a line a step.

use crate::{
    host::{Ran, TestHost},
    project::Project,
    pty::on_a_terminal,
};

/// Once both texts were drawn it writes a NUL, which the command cannot, among what was drawn, and
/// makes the file that the command waits for.
const DRAWN: &str = r#"
go, texts, command = sys.argv[1], [text.encode() for text in sys.argv[2:4]], sys.argv[4:]
def look(fd, drawn):
    if b"\0" not in drawn and all(text in drawn for text in texts):
        drawn += b"\0"
        open(go, "w").close()
watch(command, look)
"#;

/// A terminal's screen without an end, as far as what draws progress uses one.
#[derive(Default)]
struct Screen {
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
}

const COLUMNS: usize = 80;

impl Screen {
    fn draw(&mut self, text: &str) {
        let mut chars = text.chars();
        while let Some(one) = chars.next() {
            match one {
                '\r' => self.column = 0,
                '\n' => self.row += 1,
                '\x1b' => self.control(&mut chars),
                _ => self.put(one),
            }
        }
    }

    fn put(&mut self, one: char) {
        // The cursor stays behind a full line until there is more to draw.
        if self.column == COLUMNS {
            (self.row, self.column) = (self.row + 1, 0);
        }
        let column = self.column;
        let line = self.line();
        line.resize(line.len().max(column + 1), ' ');
        line[column] = one;
        self.column += 1;
    }

    fn line(&mut self) -> &mut Vec<char> {
        let rows = self.lines.len().max(self.row + 1);
        self.lines.resize_with(rows, Vec::new);
        &mut self.lines[self.row]
    }

    fn control(&mut self, chars: &mut std::str::Chars<'_>) {
        assert_eq!(chars.next(), Some('['), "a sequence that this screen does not know");
        let mut number = String::new();
        let order = chars.find(|one| {
            number.push(*one);
            one.is_ascii_alphabetic()
        });
        number.pop();
        let count = number.parse().unwrap_or(1);
        let column = self.column;
        match (order, number.as_str()) {
            (Some('A'), _) => self.row = self.row.saturating_sub(count),
            (Some('B'), _) => self.row += count,
            (Some('G'), _) => self.column = count - 1,
            (Some('K'), "" | "0") => self.line().truncate(column),
            (Some('K'), "2") => self.line().clear(),
            (Some('J'), "" | "0") => {
                self.line().truncate(column);
                self.lines.truncate(self.row + 1);
            }
            // Colour, and whether the cursor is seen.
            (Some('m' | 'h' | 'l'), _) => {}
            _ => panic!("the sequence `{number}` {order:?} is not known to this screen"),
        }
    }

    /// What stands on it, less blanks at the ends of lines and lines without a character.
    fn shown(&self) -> Vec<String> {
        let lines = self.lines.iter().map(|line| line.iter().collect::<String>().trim_end().to_owned());
        lines.filter(|line| !line.is_empty()).collect()
    }
}

#[test]
fn a_terminal_shows_the_step_under_way_and_keeps_a_line_of_each() {
    let mut host = TestHost::start();
    host.set_env("LC_ALL", "C.UTF-8");
    let project = Project::small("shop");
    project
        .write("Procfile", "release: sh migrate\nweb: /usr/bin/python3 server.py\n")
        .write(
            "migrate",
            "echo migrating 7 rows; while [ ! -e /data/gate/go ]; do sleep 0.02; done; echo gone on",
        )
        .write("dozen.toml", "[services.gate]\nkind = \"volume\"\n")
        .commit("waits");
    let gate = host.state().join("services/1/gate/go");
    let own = [gate.to_str().expect("a path of text"), "Running the release phase", "migrating 7 rows"];
    let mut command = on_a_terminal(&host, DRAWN, &own, &["up", "."]);
    command.current_dir(project.folder()).env_remove("NO_COLOR").env("TERM", "xterm-256color");
    let ran = Ran::from(command.output().expect("python3")).succeeds();
    let (during, after) = ran.stdout.split_once('\0').expect("the phase was seen while it ran");

    let mut screen = Screen::default();
    screen.draw(during);
    let shown = screen.shown();
    let [.., step, line] = &shown[..] else { panic!("{shown:#?}") };
    assert_eq!(
        step[step.char_indices().nth(3).expect("its spinner").0..].trim(),
        "Running the release phase"
    );
    assert_eq!(line, "      migrating 7 rows");
    assert_eq!(shown.iter().filter(|line| line.contains("release phase")).count(), 1, "{shown:#?}");

    screen.draw(after);
    let shown = screen.shown();
    let end = shown.iter().position(|line| line == "shop v1 is up").unwrap_or_else(|| panic!("{shown:#?}"));
    let titles: Vec<&str> = shown[..end].iter().map(|line| line.get(..33).unwrap_or(line).trim()).collect();
    let steps = [
        "✓ Source",
        "✓ Unpacking the source",
        "✓ Looking at the source",
        "✓ Storing the source",
        "✓ Writing the image",
        "✓ Assembling the release",
        "✓ Running the release phase",
        "✓ Starting web.1",
    ];
    assert_eq!(titles, steps, "one line a step, and nothing of its log: {shown:#?}");
    assert_eq!(shown[end + 1], format!("http://shop.localhost:{}/", host.port()));
}
