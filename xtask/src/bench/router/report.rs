//! Tables in the terminal and in `docs/benchmarks.md`: the same text.

use super::rounds::{Measured, Outcome, ratio};

/// A table: its head, and a line for each contender.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) head: Vec<String>,
    pub(super) lines: Vec<Vec<String>>,
}

impl Table {
    /// As Markdown, with columns that stand below each other.
    pub(super) fn text(&self) -> String {
        let all = || std::iter::once(&self.head).chain(&self.lines);
        let width = |column: usize| {
            all().filter_map(|line| Some(line.get(column)?.chars().count())).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let line = |cells: &Vec<String>| {
            let pad = |(column, width): (usize, &usize)| {
                let cell = cells.get(column).map_or("", String::as_str);
                format!(" {cell}{} |", " ".repeat(width - cell.chars().count()))
            };
            format!("|{}\n", widths.iter().enumerate().map(pad).collect::<String>())
        };
        let rule: String = widths.iter().map(|width| format!("{}|", "-".repeat(width + 2))).collect();
        let lines: String = self.lines.iter().map(line).collect();
        format!("{}|{rule}\n{lines}", line(&self.head))
    }
}

/// The medians of the rounds, and what each costs beside each peer.
pub(super) fn requests_table(outcomes: &[Outcome], absent: Vec<(String, String)>) -> Table {
    let beside: Vec<&Outcome> = outcomes.iter().filter(|one| one.running.is_reference).collect();
    let mut head =
        ["proxy", "CPU µs/request", "of it user", "requests/s", "p50 ms", "p99 ms", "MiB idle, loaded"]
            .map(str::to_owned)
            .to_vec();
    head.extend(beside.iter().map(|peer| format!("× {}", peer.running.name)));
    let line = |one: &Outcome| {
        let over = |value: fn(&Measured) -> f64| median(one.rounds.iter().map(value));
        let costs = || one.rounds.iter().map(Measured::cost);
        let (least, most) = (costs().fold(f64::MAX, f64::min), costs().fold(0.0, f64::max));
        let mut cells = vec![
            one.running.name.clone(),
            format!("{:.1} ({least:.1} - {most:.1})", median(costs())),
            format!("{:.1}", over(|m| m.used.user.as_secs_f64() * 1e6 / f64::from(m.drove.requests))),
            format!("{:.0}", over(|m| f64::from(m.drove.requests) / m.drove.elapsed.as_secs_f64())),
            format!("{:.2}", over(|m| m.drove.p50.as_secs_f64() * 1e3)),
            format!("{:.2}", over(|m| m.drove.p99.as_secs_f64() * 1e3)),
            format!(
                "{:.1}, {:.1}",
                one.running.idle,
                one.rounds.iter().map(|m| m.memory).fold(0.0, f64::max)
            ),
        ];
        cells.extend(beside.iter().map(|peer| format!("{:.2}", ratio(one, peer))));
        cells
    };
    let mut lines: Vec<Vec<String>> = outcomes.iter().map(line).collect();
    lines.extend(absent.into_iter().map(|(name, why)| vec![name, why]));
    Table { head, lines }
}

pub(super) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}
