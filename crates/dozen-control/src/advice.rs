//! What the last lines of a process tell about why it did not start: faults that every newcomer
//! to a read-only release meets once, each with the way out.
//!
//! Lines are only searched for words of interpreters and libraries; nothing of them is repeated.
//! A line that says nothing known gives no advice: none is better than a guess.

/// Words of a log line, and what to do about it. The first that is found counts.
const KNOWN: [(&[&str], &str); 4] = [
    (
        &["unable to open database file", "attempt to write a readonly database"],
        "the app's own files are read-only: make a database with `dozen services create sqlite db`, attach it \
         with `dozen services attach db`, and let the settings read `DATABASE_URL`",
    ),
    (
        &["Read-only file system", "EROFS:"],
        "the app's own files are read-only: write what may be lost to `/tmp`, and what must stay to a volume \
         (`dozen services create volume media --path /data`)",
    ),
    (
        &["no such table:", "django.db.utils.ProgrammingError: relation "],
        "the database has no such table yet: let the release phase make it, as with the line `release: python \
         manage.py migrate --noinput` in the Procfile",
    ),
    (
        &["ModuleNotFoundError: No module named", "Cannot find module"],
        "a package that the app imports is not among its dependencies: declare it, lock, commit and deploy again",
    ),
];

/// What to do, judged by the last lines that a process printed.
pub(crate) fn from_tail(tail: &[String]) -> Option<String> {
    let says = |words: &[&str]| tail.iter().any(|line| words.iter().any(|word| line.contains(word)));
    KNOWN.iter().find(|(words, _)| says(words)).map(|(_, advice)| (*advice).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_inside_the_release_is_answered_with_a_service() {
        let tail = ["sqlite3.OperationalError: unable to open database file".to_owned()];
        assert!(from_tail(&tail).unwrap().contains("dozen services create sqlite db"));
        assert_eq!(from_tail(&["ValueError: 3".to_owned()]), None);
    }
}
