//! Families of series: how one is made, and how all of them are told.

use prometheus::core::Collector;
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use std::time::Duration;

/// What is told of. One without a series is named all the same: whoever looks for it need not wonder whether it is written so.
#[derive(Default)]
pub struct Families {
    registry: Registry,
    each: Vec<Box<dyn Collector>>,
}

pub const NO_LABELS: [&str; 0] = [];

impl Families {
    /// The text that Prometheus reads.
    pub fn render(&self) -> String {
        let mut text = TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("a registry's families can be written to a string");
        for family in self.each.iter().flat_map(|collector| collector.collect()) {
            if family.get_metric().is_empty() {
                let (name, kind) = (family.name(), format!("{:?}", family.get_field_type()).to_lowercase());
                text.push_str(&format!("# HELP {name} {}\n# TYPE {name} {kind}\n", family.help()));
            }
        }
        text
    }
}

pub fn whole(to: &mut Families, name: &str, help: &str) -> IntGauge {
    registered(to, IntGauge::new(name, help))
}

pub fn count(to: &mut Families, name: &str, help: &str) -> IntCounter {
    registered(to, IntCounter::new(name, help))
}

pub fn by_words(to: &mut Families, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    registered(to, IntGaugeVec::new(Opts::new(name, help), labels))
}

pub fn counts(to: &mut Families, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(to, IntCounterVec::new(Opts::new(name, help), labels))
}

pub fn seconds_or_none(to: &mut Families, name: &str, help: &str) -> GaugeVec {
    registered(to, GaugeVec::new(Opts::new(name, help), &NO_LABELS))
}

pub fn histogram(to: &mut Families, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    registered(to, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())))
}

pub fn registered<C: Collector + Clone + 'static>(to: &mut Families, made: prometheus::Result<C>) -> C {
    let collector = made.expect("names and labels are constants that Prometheus allows");
    to.registry.register(Box::new(collector.clone())).expect("each name is registered once");
    to.each.push(Box::new(collector.clone()));
    collector
}

pub fn set_or_remove(gauge: &GaugeVec, value: Option<Duration>) {
    gauge.reset();
    if let Some(value) = value {
        gauge.with_label_values(&NO_LABELS).set(value.as_secs_f64());
    }
}
