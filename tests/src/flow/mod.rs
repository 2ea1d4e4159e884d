//! A message through several services, started as a person starts them. No test leaves the machine.

mod bus;
mod hostile;
mod junk;
mod kills;
mod life;
mod lists;
mod local;
mod logins;
mod mail;
mod operate;
mod own;
mod rules;
mod submission;

use mox_testkit::{Instance, wait_for};
use std::time::Duration;

/// Until a message that was accepted must be readable.
const ARRIVAL: Duration = Duration::from_secs(30);

fn message(from: &str, to: &str, subject: &str) -> String {
    format!(
        "From: <{from}>\r\nTo: <{to}>\r\nSubject: {subject}\r\nMessage-ID: <{subject}@client.test>\r\n\
         Date: Sun, 01 Nov 2026 10:00:00 +0000\r\n\r\nText of {subject}.\r\n.A line with a dot.\r\n"
    )
}

/// The message with this subject in the Inbox of an account, whole.
#[track_caller]
fn arrived(instance: &Instance, account: usize, subject: &str) -> String {
    let wanted = format!("Subject: {subject}\r\n");
    wait_for(&format!("message {subject}"), ARRIVAL, || {
        let mut imap = instance.imap(account).unwrap();
        imap.select("INBOX").unwrap();
        imap.messages().unwrap().into_iter().find(|message| message.contains(&wanted))
    })
}
