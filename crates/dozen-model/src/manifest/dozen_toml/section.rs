//! A table of `dozen.toml` and its entries, each knowing its line and its full key.

use std::{fmt::Display, ops::Range, str::FromStr};

use toml_edit::{Document, Item, Key, TableLike};

use super::super::{ManifestError, ManifestErrorKind, value_rules::Rule};
use crate::{excerpt::excerpt, suggestion::nearest};

/// The file's name in errors.
pub(super) const FILE: &str = "dozen.toml";

/// A table, and where it stands.
pub(super) struct Section<'a> {
    source: &'a str,
    /// Empty for the file itself, else `health` or `formation.web`.
    path: String,
    /// Where it begins.
    offset: usize,
    table: &'a dyn TableLike,
}

/// One key of a table and its value.
pub(super) struct Entry<'a> {
    source: &'a str,
    name: &'a str,
    path: String,
    offset: usize,
    item: &'a Item,
}

impl<'a> Section<'a> {
    /// The file itself.
    pub(super) fn whole(document: &'a Document<&'a str>) -> Self {
        Self { source: document.raw(), path: String::new(), offset: 0, table: document.as_table() }
    }

    /// Refuses any key that is not one of `known`, suggesting the nearest.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), ManifestError> {
        match self.entries().find(|entry| !known.contains(&entry.name)) {
            None => Ok(()),
            Some(entry) => Err(entry.error(ManifestErrorKind::UnknownKey {
                key: excerpt(entry.name),
                section: if self.path.is_empty() {
                    "the file".to_owned()
                } else {
                    format!("`[{}]`", self.path)
                },
                meant: nearest(entry.name, known.iter().copied()).map(str::to_owned),
                known: known.join(", ").into(),
            })),
        }
    }

    /// Every key, in the file's order.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry<'a>> {
        self.table.iter().filter_map(|(name, _)| self.entry(name))
    }

    /// The entry called `name`, if it is there.
    pub(super) fn entry(&self, name: &str) -> Option<Entry<'a>> {
        let (key, item) = self.table.get_key_value(name)?;
        (!item.is_none()).then(|| Entry::new(self, key, item))
    }

    /// The table called `name`, if it is there.
    pub(super) fn section(&self, name: &str) -> Result<Option<Section<'a>>, ManifestError> {
        self.entry(name).map(|entry| entry.section()).transpose()
    }

    /// The text called `name`, if it is there; it must keep to `rule`.
    pub(super) fn text(&self, name: &str, rule: Rule) -> Result<Option<String>, ManifestError> {
        self.entry(name).map(|entry| entry.ruled_text(rule)).transpose()
    }

    /// The truth value called `name`, if it is there.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, ManifestError> {
        self.entry(name).map(|entry| entry.flag()).transpose()
    }

    /// The text called `name` read by `parse`, if it is there.
    pub(super) fn parsed<T, E: Display>(
        &self,
        name: &str,
        parse: fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, ManifestError> {
        self.entry(name).map(|entry| entry.parsed(parse)).transpose()
    }

    /// An error about the table as a whole.
    pub(super) fn bad(&self, reason: impl Into<String>) -> ManifestError {
        let kind = ManifestErrorKind::BadValue { key: self.path.clone(), reason: reason.into(), hint: None };
        ManifestError { file: FILE, line: Some(line_of(self.source, self.offset)), kind }
    }
}

impl<'a> Entry<'a> {
    fn new(section: &Section<'a>, key: &'a Key, item: &'a Item) -> Self {
        let name = key.get();
        let quoted = excerpt(name);
        let path = if section.path.is_empty() { quoted } else { format!("{}.{quoted}", section.path) };
        let span = key.span().or_else(|| item.span());
        Self { source: section.source, name, path, offset: span.map_or(0, |span| span.start), item }
    }

    /// The key as it is written.
    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    /// The key read as a name.
    pub(super) fn name_as<T: FromStr<Err: Display>>(&self) -> Result<T, ManifestError> {
        self.name.parse().map_err(|error: T::Err| self.bad(error.to_string()))
    }

    /// Whether the value is a table, of either notation.
    pub(super) fn is_section(&self) -> bool {
        self.item.is_table_like()
    }

    /// The value as a table.
    pub(super) fn section(&self) -> Result<Section<'a>, ManifestError> {
        let table = self.item.as_table_like().ok_or_else(|| self.wrong_type("a table"))?;
        Ok(Section { source: self.source, path: self.path.clone(), offset: self.offset, table })
    }

    /// The value as a list of tables, of either notation.
    pub(super) fn sections(&self) -> Result<Vec<Section<'a>>, ManifestError> {
        let wrong = || self.wrong_type("a list of tables");
        let section = |table: &'a dyn TableLike, span: Option<Range<usize>>| {
            let offset = span.map_or(self.offset, |span| span.start);
            Section { source: self.source, path: self.path.clone(), offset, table }
        };
        if let Some(tables) = self.item.as_array_of_tables() {
            return Ok(tables.iter().map(|table| section(table, table.span())).collect());
        }
        let inline = |value: &'a toml_edit::Value| {
            let table = value.as_inline_table().ok_or_else(wrong)?;
            Ok(section(table, value.span()))
        };
        self.item.as_array().ok_or_else(wrong)?.iter().map(inline).collect()
    }

    /// The value as text.
    pub(super) fn text(&self) -> Result<&'a str, ManifestError> {
        self.item.as_str().ok_or_else(|| self.wrong_type("text in quotes"))
    }

    /// The value as text that keeps to `rule`.
    pub(super) fn ruled_text(&self, rule: Rule) -> Result<String, ManifestError> {
        let text = self.text()?;
        match rule(text) {
            None => Ok(text.to_owned()),
            Some(broken) => Err(self.bad(broken)),
        }
    }

    /// The value as text read by `parse`.
    pub(super) fn parsed<T, E: Display>(&self, parse: fn(&str) -> Result<T, E>) -> Result<T, ManifestError> {
        parse(self.text()?).map_err(|error| self.bad(error.to_string()))
    }

    /// The value as `true` or `false`.
    pub(super) fn flag(&self) -> Result<bool, ManifestError> {
        self.item.as_bool().ok_or_else(|| self.wrong_type("`true` or `false`"))
    }

    /// The value as a whole number from `least` to `most`.
    pub(super) fn whole_number(&self, least: u32, most: u32) -> Result<u32, ManifestError> {
        let number = self.item.as_integer().ok_or_else(|| self.wrong_type("a whole number"))?;
        let fits = u32::try_from(number).ok().filter(|number| (least..=most).contains(number));
        fits.ok_or_else(|| self.bad(format!("write a number from {least} to {most}")))
    }

    /// The value as a whole number, if it is one.
    pub(super) fn is_number(&self) -> bool {
        self.item.is_integer()
    }

    /// The value as a list of texts, each read by `parse`.
    pub(super) fn list<T>(&self, parse: fn(&str) -> Result<T, String>) -> Result<Vec<T>, ManifestError> {
        let wrong = || self.wrong_type("a list of texts in quotes");
        let values = self.item.as_array().ok_or_else(wrong)?;
        let text_of = |value: &'a toml_edit::Value| value.as_str().ok_or_else(wrong);
        values.iter().map(|value| parse(text_of(value)?).map_err(|error| self.bad(error))).collect()
    }

    /// An error about the value: `reason` quotes nothing that could be a password.
    pub(super) fn bad(&self, reason: impl Into<String>) -> ManifestError {
        self.bad_with_hint(reason, None)
    }

    /// An error about the value, with what to write in its place.
    pub(super) fn bad_with_hint(&self, reason: impl Into<String>, hint: Option<String>) -> ManifestError {
        self.error(ManifestErrorKind::BadValue { key: self.path.clone(), reason: reason.into(), hint })
    }

    /// The value is not `wanted`.
    pub(super) fn wrong_type(&self, wanted: &'static str) -> ManifestError {
        let found = match self.item {
            Item::Table(_) | Item::Value(toml_edit::Value::InlineTable(_)) => "a table",
            Item::ArrayOfTables(_) => "a list of tables",
            item if item.is_str() => "text",
            item if item.is_integer() => "a whole number",
            item if item.is_float() => "a number",
            item if item.is_bool() => "a truth value",
            item if item.is_datetime() => "a date",
            _ => "a list",
        };
        self.error(ManifestErrorKind::WrongType { key: self.path.clone(), wanted, found })
    }

    fn error(&self, kind: ManifestErrorKind) -> ManifestError {
        ManifestError { file: FILE, line: Some(line_of(self.source, self.offset)), kind }
    }
}

/// The line, counted from 1, in which the byte at `offset` stands.
pub(super) fn line_of(source: &str, offset: usize) -> usize {
    1 + source.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}
