//! NOTIFY.
//!
//! Law: RFC 5465 §8.

use super::lex::Cursor;
use super::order::filter;
use super::{Fault, Parsed, fetch, syntax};
use crate::command::{Command, EventKind, Events, FetchItem, MailboxFilter, Notify, SelectedEvents};
use crate::limits;

pub(super) fn notify(c: &mut Cursor<'_>) -> Parsed<Command> {
    c.space()?;
    match c.keyword()?.as_str() {
        "NONE" => return Ok(Command::Notify(None)),
        "SET" => {}
        _ => return syntax("SET or NONE expected"),
    }
    let mut notify = Notify { status: c.word(" STATUS"), ..Notify::default() };
    let mut selected = false;
    loop {
        c.space()?;
        c.open()?;
        let filter = filter(c)?;
        c.space()?;
        let of_selected = matches!(filter, MailboxFilter::Selected | MailboxFilter::SelectedDelayed);
        let (events, new) = events(c, of_selected)?;
        c.close()?;
        if of_selected {
            if std::mem::replace(&mut selected, true) {
                return syntax("the selected mailbox twice");
            }
            notify.selected = events.of_messages().then_some(SelectedEvents {
                at_once: filter == MailboxFilter::Selected,
                events,
                new,
            });
        } else if matches!(filter, MailboxFilter::SubtreeOne(_)) {
            return syntax("unknown mailbox specifier");
        } else {
            notify.groups.push((filter, events));
        }
        if notify.groups.len() > limits::EVENT_GROUPS {
            return Err(Fault::TooBig("too many event groups"));
        }
        if c.at_end() {
            return Ok(Command::Notify(Some(notify)));
        }
    }
}

fn events(c: &mut Cursor<'_>, of_selected: bool) -> Parsed<(Events, Vec<FetchItem>)> {
    let (mut events, mut new, mut unknown) = (Events::default(), Vec::new(), false);
    if c.word("NONE") {
        return Ok((events, new));
    }
    let listed = c.list(|c| {
        let name = c.atom()?;
        let known = EventKind::ALL.iter().find(|(_, wire)| wire.eq_ignore_ascii_case(name));
        let Some((kind, _)) = known else {
            unknown = true;
            return Ok(());
        };
        if of_selected && !kind.is_of_messages() {
            return syntax("only events of messages go with the selected mailbox");
        }
        if *kind == EventKind::MessageNew && c.word(" (") {
            if !of_selected {
                return syntax("items go with the selected mailbox only");
            }
            loop {
                fetch::item(c, &mut new)?;
                if c.take(b')') {
                    break;
                }
                c.space()?;
            }
        }
        events = events.with(*kind);
        Ok(())
    })?;
    // RFC 5465 §5.
    let messages = events.has(EventKind::MessageNew);
    if listed.is_empty()
        || messages != events.has(EventKind::MessageExpunge)
        || (events.has(EventKind::FlagChange) && !messages)
    {
        return syntax("MessageNew and MessageExpunge go together, and with FlagChange");
    }
    if unknown { Err(Fault::BadEvent) } else { Ok((events, new)) }
}
