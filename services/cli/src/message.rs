//! `mox message`: what the parser makes of a file, as JSON. Row CL-13.

use crate::show::To;
use anyhow::Context as _;
use libmox_message::address::Mailbox;
use libmox_message::params::Param;
use libmox_message::{Parser, Part};
use serde_json::{Value, json};
use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;
use std::process::ExitCode;

/// `mox message`
#[derive(Debug, clap::Subcommand)]
pub enum Message {
    /// Print what the parser finds in a message: its parts with their places, and what threads and filters go by
    Parse {
        /// File, - for standard input
        file: PathBuf,
    },
}

pub fn run(command: &Message, to: To) -> anyhow::Result<ExitCode> {
    let Message::Parse { file } = command;
    let reading = || format!("cannot read {}", file.display());
    let mut input: Box<dyn std::io::Read> = match file.to_str() {
        Some("-") => Box::new(std::io::stdin()),
        _ => Box::new(File::open(file).with_context(reading)?),
    };
    let mut parser = Parser::new();
    let mut chunk = vec![0; 1 << 16];
    loop {
        match input.read(&mut chunk).with_context(reading)? {
            0 => break,
            octets => parser.feed(&chunk[..octets]),
        }
    }
    let facts = parser.finish();
    let flaws = facts.flaws;
    let flaws = [
        ("header_non_ascii", flaws.header_non_ascii),
        ("body_8bit", flaws.body_8bit),
        ("bare_cr", flaws.bare_cr),
        ("bare_lf", flaws.bare_lf),
        ("nul", flaws.nul),
        ("over_limit", flaws.over_limit),
    ];
    let found = json!({
        "size": facts.size,
        "message_id": facts.message_id,
        "in_reply_to": facts.in_reply_to,
        "references": facts.references,
        "subject": facts.subject,
        "base_subject": facts.base_subject,
        "from": addresses(&facts.from),
        "to": addresses(&facts.to),
        "cc": addresses(&facts.cc),
        "date": facts.date.map(|date| date.0),
        "received": facts.received,
        "auto_submitted": facts.auto_submitted,
        "list_id": facts.list_id,
        "delivery_report": facts.delivery_report,
        "preview": facts.preview,
        "flaws": flaws.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| *name).collect::<Vec<_>>(),
        "structure": part(&facts.structure.root),
    });
    to.text(&serde_json::to_string_pretty(&found)?);
    Ok(ExitCode::SUCCESS)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn addresses(list: &[Mailbox]) -> Vec<String> {
    list.iter().map(|mailbox| format!("{}@{}", text(&mailbox.local), text(&mailbox.host))).collect()
}

fn params(params: &[Param]) -> Value {
    params.iter().map(|param| (param.name.clone(), Value::from(text(&param.value)))).collect()
}

/// Parts are nested no deeper than the parser allows.
fn part(of: &Part) -> Value {
    json!({
        "type": format!("{}/{}", of.media_type, of.subtype),
        "params": params(&of.params),
        "encoding": of.encoding.as_deref().map(text),
        "disposition": of.disposition.as_ref().map(|found| {
            json!({ "kind": found.kind, "params": params(&found.params) })
        }),
        "header_start": of.header_start,
        "body_start": of.body_start,
        "body_end": of.body_end,
        "lines": of.lines,
        "parts": of.children.iter().map(part).collect::<Vec<_>>(),
    })
}
