//! A strict reader of Prometheus' text format, 0.0.4: whatever is not as the format says panics.

use std::collections::{BTreeMap, HashSet};

/// What one answer has.
#[derive(Debug, Default)]
pub(crate) struct Exposition {
    /// Name to kind and help.
    pub(crate) families: BTreeMap<String, (String, String)>,
    samples: Vec<Sample>,
}

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Exposition {
    #[track_caller]
    pub(crate) fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n') && !text.contains('\r'), "lines end in LF: {text:?}");
        let (mut all, mut family) = (Self::default(), (String::new(), String::new()));
        let mut help = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                help = rest.split_once(' ').map(|(name, help)| (name.to_owned(), help.to_owned()));
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect("a kind");
                assert!(is_name(name) && ["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                let (helped, help) = help.take().expect("a help line before");
                assert!(helped == name && !help.is_empty() && !help.contains('\\'), "{line}");
                family = (name.to_owned(), kind.to_owned());
                let before = all.families.insert(name.to_owned(), (kind.to_owned(), help));
                assert!(before.is_none(), "a family stands in one place: {line}");
            } else {
                let sample = Sample::parse(line);
                let suffixes: &[&str] =
                    if family.1 == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
                let is_of_family =
                    suffixes.iter().any(|suffix| format!("{}{suffix}", family.0) == sample.name);
                assert!(is_of_family, "outside its family: {line}");
                assert!(family.1 == "gauge" || sample.value >= 0.0, "{line}");
                all.samples.push(sample);
            }
        }
        all.check_series();
        all.check_histograms();
        all
    }

    fn check_series(&self) {
        let mut seen = HashSet::new();
        for sample in &self.samples {
            assert!(seen.insert((&sample.name, &sample.labels)), "twice: {sample:?}");
        }
    }

    fn check_histograms(&self) {
        let mut buckets: BTreeMap<_, Vec<(f64, f64)>> = BTreeMap::new();
        for sample in self.samples.iter().filter(|sample| sample.name.ends_with("_bucket")) {
            let mut labels = sample.labels.clone();
            let most = labels.remove("le").expect("a bound").replace("+Inf", "inf").parse().expect("a bound");
            let family = sample.name.trim_end_matches("_bucket").to_owned();
            buckets.entry((family, labels)).or_default().push((most, sample.value));
        }
        for ((family, labels), buckets) in buckets {
            assert!(buckets.is_sorted_by(|one, next| one.0 < next.0 && one.1 <= next.1), "{buckets:?}");
            let (most, all) = buckets.last().expect("a bucket");
            let count = self
                .samples
                .iter()
                .find(|sample| sample.name == format!("{family}_count") && sample.labels == labels);
            assert!(most.is_infinite() && count.is_some_and(|count| count.value == *all), "{buckets:?}");
        }
    }

    /// The sum of the samples of this name that have these labels; `None` without any.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let has = |sample: &&Sample| {
            let same =
                |(label, text): &(&str, &str)| sample.labels.get(*label).is_some_and(|one| one == text);
            sample.name == name && labels.iter().all(same)
        };
        let found: Vec<f64> = self.samples.iter().filter(has).map(|sample| sample.value).collect();
        (!found.is_empty()).then(|| found.iter().sum())
    }
}

impl Sample {
    fn parse(line: &str) -> Self {
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no value: {line}"));
        let (name, labels) = match series.split_once('{') {
            Some((name, rest)) => (name, rest.strip_suffix('}').unwrap_or_else(|| panic!("{line}"))),
            None => (series, ""),
        };
        assert!(is_name(name), "{line}");
        let mut read = BTreeMap::new();
        for label in labels.split(',').filter(|label| !label.is_empty()) {
            let (key, text) = label.split_once('=').unwrap_or_else(|| panic!("{line}"));
            let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
            let text = text.unwrap_or_else(|| panic!("a label's value stands in quotes: {line}"));
            let is_plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '\\';
            assert!(is_name(key) && !key.contains(':') && text.chars().all(is_plain), "{line}");
            assert!(read.insert(key.to_owned(), text.to_owned()).is_none(), "{line}");
        }
        let value = value.parse().unwrap_or_else(|_| panic!("a number: {line}"));
        Self { name: name.to_owned(), labels: read, value }
    }
}

fn is_name(name: &str) -> bool {
    let may = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(may)
}
