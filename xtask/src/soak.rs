//! `cargo xtask soak`: what is true for a minute, for many.

use crate::{
    suite,
    task::{TaskError, repository, run},
};

/// `cargo xtask soak deploy [DEPLOYS]`: the long form of the end-to-end test of lost requests.
pub(crate) fn deploy(deploys: Option<&str>) -> Result<(), TaskError> {
    let deploys = deploys.unwrap_or("50");
    if deploys.parse::<u32>().is_err() {
        return Err(TaskError::new(format!("`{deploys}` is no number of deploys")));
    }
    let suite = suite::build()?;
    let mut tests = crate::task::command(&suite.tests, ["load::soak", "--ignored", "--nocapture"]);
    tests.env("DOZEN_SOAK_DEPLOYS", deploys).env(suite::BINARY_VAR, &suite.dozen);
    run(tests.env(suite::EXAMPLES_VAR, repository().join("examples")))
}
