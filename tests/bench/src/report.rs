//! The figures as a table for people and as JSON, with the targets beside them.
#![expect(clippy::print_stdout, reason = "this is what the person came for")]

use crate::handshake::Handshakes;
use crate::load::Load;
use crate::processes::Process;
use crate::sink::Sink;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// What the load should come to.
#[derive(Debug, Clone, Copy)]
pub struct Targets {
    /// Messages a second with ten connections.
    rate: f64,
    /// Milliseconds of processor time for a message, all services together.
    processor: f64,
}

impl Targets {
    /// Nothing looked up and no junk filter.
    const BARE: Self = Self { rate: 2_000.0, processor: 0.6 };
    /// Everything on.
    pub const VERIFIED: Self = Self { rate: 800.0, processor: 1.5 };
}

impl Default for Targets {
    fn default() -> Self {
        Self::BARE
    }
}

/// Milliseconds until a service that did not run greets.
const ACTIVATION: f64 = 60.0;
/// Milliseconds of a start on data that is there.
const START: f64 = 5_000.0;

/// Everything measured in one run.
#[derive(Debug, Default)]
pub struct Figures {
    pub targets: Targets,
    pub machine: Vec<(&'static str, String)>,
    pub first_start: Option<Duration>,
    pub second_start: Option<Duration>,
    pub load: Option<Load>,
    /// Promised and found.
    pub visible: Option<(usize, usize)>,
    pub processor: Vec<(String, Duration)>,
    pub processes: Vec<Process>,
    pub sink: Option<Sink>,
    pub handshake: Option<Handshakes>,
    pub activation: Vec<(&'static str, Vec<Duration>)>,
}

/// One line of the table.
struct Line {
    what: String,
    value: f64,
    unit: &'static str,
    /// What it should be, and whether it is.
    target: Option<(String, bool)>,
}

/// What the figures depend on.
pub fn machine() -> Vec<(&'static str, String)> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo");
    let model = processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let count = std::thread::available_parallelism().map_or(0, usize::from);
    vec![
        ("processors", format!("{count} x {}", model.trim_start_matches([' ', '\t', ':']))),
        ("kernel", read("/proc/sys/kernel/osrelease").trim().to_owned()),
        ("load before", read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" ")),
    ]
}

/// Between two tables.
pub fn heading(text: &str) {
    println!("\n== {text}");
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// The value below which a share of sorted times lies.
fn quantile(times: &[Duration], per_mille: usize) -> f64 {
    times.get((times.len() * per_mille / 1_000).min(times.len().saturating_sub(1))).map_or(0.0, |t| ms(*t))
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
fn float(n: usize) -> f64 {
    n as f64
}

impl Figures {
    fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let mut line =
            |what: String, value: f64, unit, target| lines.push(Line { what, value, unit, target });
        let at_most = |value: f64, most: f64, unit| Some((format!("<= {most} {unit}"), value <= most));
        if let Some(load) = &self.load {
            let rate = float(load.messages) / load.took.as_secs_f64();
            let what = format!("stored, {} connections, {} octets each", load.connections, load.size);
            line(
                what,
                rate,
                "msg/s",
                Some((format!(">= {} msg/s", self.targets.rate), rate >= self.targets.rate)),
            );
            line("MAIL to 250, median".into(), quantile(&load.times, 500), "ms", None);
            line("MAIL to 250, 99 of 100".into(), quantile(&load.times, 990), "ms", None);
            let services = |name: &str| name.starts_with("mox-");
            let each = |total: Duration| ms(total) / float(load.messages);
            let all: Duration =
                self.processor.iter().filter(|(name, _)| services(name)).map(|(_, t)| *t).sum();
            line(
                "processor time of all services".into(),
                each(all),
                "ms/msg",
                at_most(each(all), self.targets.processor, "ms"),
            );
            for (name, time) in self.processor.iter().filter(|(_, time)| each(*time) >= 0.001) {
                line(format!("  {name}"), each(*time), "ms/msg", None);
            }
            if let Some(sink) = &self.sink {
                let bare = float(sink.messages) / sink.took.as_secs_f64();
                line("bare sink: append, fdatasync, answer".into(), bare, "msg/s", None);
                line("  messages to one sync".into(), float(sink.messages) / float(sink.syncs), "", None);
                line("stored, share of the bare sink".into(), rate / bare * 100.0, "%", None);
            }
        }
        for (program, times) in &self.activation {
            let value = quantile(times, 500);
            line(
                format!("cold {program}: connect to greeting, median"),
                value,
                "ms",
                at_most(value, ACTIVATION, "ms"),
            );
            line("  slowest".into(), quantile(times, 1_000), "ms", None);
        }
        if let Some(Handshakes { remote, local }) = &self.handshake {
            let (remote, local) = (quantile(remote, 500), quantile(local, 500));
            line("TLS handshake signed by mox-keys, median".into(), remote, "ms", None);
            line("  with a key at hand".into(), local, "ms", None);
            line("  cost of the way to mox-keys".into(), remote - local, "ms", None);
        }
        if let Some(start) = self.first_start {
            line("first start until everything is ready".into(), ms(start), "ms", None);
        }
        if let Some(start) = self.second_start {
            line("second start, with the mail".into(), ms(start), "ms", at_most(ms(start), START, "ms"));
        }
        for process in &self.processes {
            let mib = |octets: u64| float(usize::try_from(octets >> 10).unwrap_or(0)) / 1024.0;
            line(
                format!("memory of {}, {} threads", process.name, process.threads),
                mib(process.memory),
                "MiB",
                None,
            );
            line("  its own".into(), mib(process.own), "MiB", None);
        }
        lines
    }

    /// To standard output; how many targets are missed.
    pub fn print(&self) -> usize {
        for (what, value) in &self.machine {
            println!("{what:<12} {value}");
        }
        if let Some((promised, found)) = self.visible {
            println!("{:<12} {promised} promised, {found} found over IMAP", "messages");
        }
        println!();
        let mut missed = 0;
        for Line { what, value, unit, target } in self.lines() {
            let verdict = match target {
                Some((target, true)) => format!("met     {target}"),
                Some((target, false)) => {
                    missed += 1;
                    format!("MISSED  {target}")
                }
                None => String::new(),
            };
            let digits = if value < 10.0 { 3 } else { 1 };
            println!("{}", format!("{what:<48} {value:>10.digits$} {unit:<7} {verdict}").trim_end());
        }
        missed
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        let machine: Map<String, Value> =
            self.machine.iter().map(|(what, value)| ((*what).to_owned(), json!(value))).collect();
        let figures: Vec<Value> = self
            .lines()
            .into_iter()
            .map(|line| {
                json!({
                    "what": line.what.trim_start(), "value": line.value, "unit": line.unit,
                    "target": line.target.as_ref().map(|(text, _)| text),
                    "met": line.target.as_ref().map(|(_, met)| met),
                })
            })
            .collect();
        let messages = self.visible.map(|(promised, found)| json!({ "promised": promised, "found": found }));
        json!({ "machine": machine, "messages": messages, "figures": figures })
    }
}
