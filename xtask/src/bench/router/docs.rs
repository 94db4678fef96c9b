//! The tables in `docs/benchmarks.md`, between two markers.

use std::fs;

use super::stage::Stage;
use crate::task::{TaskError, repository};

const BEGIN: &str = "<!-- written by `cargo xtask bench router` -->\n";
const END: &str = "<!-- end of what is written -->\n";

/// Writes what a whole run came to.
pub(super) fn write(stage: &Stage, tables: &str) -> Result<(), TaskError> {
    let path = repository().join("docs/benchmarks.md");
    let page = fs::read_to_string(&path)?;
    let who = stage.contenders.iter().map(|one| format!("{} {}", one.name, one.version));
    let who = who.collect::<Vec<_>>().join(", ");
    let options = &stage.options;
    let how = format!(
        "{who}; medians of {} rounds of {} s; {} requests a second at the constant rate.\n\n",
        options.rounds, options.seconds, options.rate
    );
    fs::write(&path, replaced(&page, &(how + tables))?)?;
    println!("written to docs/benchmarks.md");
    Ok(())
}

fn replaced(page: &str, text: &str) -> Result<String, TaskError> {
    let parts = page.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) =
        parts.ok_or_else(|| TaskError::new("docs/benchmarks.md has no markers for the router's tables"))?;
    Ok(format!("{before}{BEGIN}\n{text}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stood_between_the_markers_is_replaced() {
        let page = format!("a\n{BEGIN}old\n{END}b\n");
        let wanted = format!("a\n{BEGIN}\nnew\n{END}b\n");
        assert_eq!(replaced(&page, "new\n").unwrap(), wanted);
        assert_eq!(replaced(&wanted, "new\n").unwrap(), wanted);
        assert!(replaced("a\n", "new\n").is_err());
    }
}
