//! Prometheus' text format, read strictly: what it does not allow fails the test.

#![allow(
    clippy::float_cmp,
    reason = "the values are counts, which doubles hold exactly"
)]

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A scrape: every sample by its name with its labels, as it stands in the text.
pub struct Scrape {
    samples: BTreeMap<String, f64>,
    /// The names that have a type.
    pub families: BTreeSet<String>,
}

fn is_name(text: &str) -> bool {
    let first = text.chars().next();
    first.is_some_and(|c| c.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

/// Label names and values of `{a="b",c="d"}`.
fn labels(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.strip_prefix('{').unwrap().strip_suffix('}').unwrap();
    while !rest.is_empty() {
        let (name, behind) = rest.split_once("=\"").unwrap();
        assert!(is_name(name), "{text}");
        let (value, behind) = behind.split_once('"').unwrap();
        assert!(!value.contains(['\\', '\n']), "{text}");
        found.push((name.to_owned(), value.to_owned()));
        rest = behind.strip_prefix(',').unwrap_or(behind);
        assert!(behind.is_empty() || behind.starts_with(','), "{text}");
    }
    found
}

/// The family a sample belongs to, which is not its name in a histogram.
fn family<'a>(name: &'a str, types: &HashMap<&str, &str>) -> &'a str {
    let parts = ["_bucket", "_sum", "_count"];
    let base = parts.iter().find_map(|part| name.strip_suffix(part));
    base.filter(|base| types.get(base) == Some(&"histogram"))
        .unwrap_or(name)
}

impl Scrape {
    /// Reads a scrape, and checks that it is one.
    #[track_caller]
    pub fn read(text: &str) -> Self {
        assert!(text.ends_with('\n'), "the last line does not end");
        let (mut helps, mut types) = (HashMap::new(), HashMap::new());
        let mut samples = BTreeMap::new();
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, said) = help.split_once(' ').unwrap();
                assert!(
                    !said.is_empty() && helps.insert(name, said).is_none(),
                    "{line}"
                );
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
                assert!(types.insert(name, kind).is_none(), "{line}");
            } else {
                let (sample, value) = line.rsplit_once(' ').unwrap();
                let name = sample.split('{').next().unwrap();
                assert!(is_name(name), "{line}");
                labels(if name == sample {
                    "{}"
                } else {
                    &sample[name.len()..]
                });
                let family = family(name, &types);
                assert!(
                    helps.contains_key(family) && types.contains_key(family),
                    "{line}"
                );
                let value: f64 = value.parse().unwrap();
                assert!(value >= 0.0, "{line}");
                let twice = samples.insert(sample.to_owned(), value);
                assert!(twice.is_none(), "{line}");
            }
        }
        let families = types.keys().map(ToString::to_string).collect();
        let this = Self { samples, families };
        for name in types.iter().filter(|(_, kind)| **kind == "histogram") {
            this.check_histogram(name.0);
        }
        this
    }

    fn check_histogram(&self, name: &str) {
        let prefix = format!("{name}_bucket{{le=\"");
        let bound = |sample: &str| -> Option<f64> {
            let text = sample.strip_prefix(&prefix)?.strip_suffix("\"}")?;
            text.replace("+Inf", "inf").parse().ok()
        };
        let samples = self.samples.iter();
        let mut buckets: Vec<(f64, f64)> =
            samples.filter_map(|(s, n)| Some((bound(s)?, *n))).collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "{name}");
        let (last, all) = *buckets.last().unwrap();
        assert!(last.is_infinite() && all == self.value(&format!("{name}_count")));
    }

    /// A sample's value; `None` when it is not there.
    pub fn get(&self, sample: &str) -> Option<f64> {
        self.samples.get(sample).copied()
    }

    /// The value of a sample that must be there.
    #[track_caller]
    pub fn value(&self, sample: &str) -> f64 {
        self.get(sample)
            .unwrap_or_else(|| panic!("{sample} is not among {:#?}", self.samples.keys()))
    }

    /// Checks that each sample has its value.
    #[track_caller]
    pub fn expect(&self, samples: &[(&str, f64)]) {
        for (sample, value) in samples {
            let found = self.value(sample);
            assert!(
                (found - value).abs() < 1e-9,
                "{sample} is {found}, not {value}"
            );
        }
    }
}
