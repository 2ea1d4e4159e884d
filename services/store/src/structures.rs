//! Lists with the structures of messages: rows from memory, structures from the index.
//!
//! Structures lie in the order of the message ids, which mostly is that of the rows, too: so they are read on a way
//! through the index and not one by one, which costs several times as much.

use crate::hot::{Rows, item, push_with_structure};
use crate::keys;
use crate::limits::{LIST_OCTETS, STRUCTURES_PASSED};
use crate::records::{Read as _, decode_front};
use crate::store::Store;
use libmox_store::Fault;
use libmox_types::{AccountId, MsgId};
use std::ops::{Bound, ControlFlow};

/// Items on their way to be full.
#[derive(Default)]
struct Items {
    full: Vec<Vec<u8>>,
    body: Vec<u8>,
    count: usize,
}

impl Items {
    /// A row; without a structure where the message was erased while the list is read.
    fn push(&mut self, row: &[u8], structure: Option<&[u8]>) {
        match structure {
            Some(structure) => push_with_structure(&mut self.body, row, structure),
            None => self.body.extend_from_slice(row),
        }
        self.count += 1;
        if self.body.len() >= LIST_OCTETS {
            self.end();
        }
    }

    fn end(&mut self) {
        if self.count > 0 {
            self.full.push(item(std::mem::take(&mut self.count), &std::mem::take(&mut self.body)));
        }
    }
}

impl Store {
    /// Rows with the structures of their messages, encoded as items.
    pub(crate) fn with_structures(&self, account: AccountId, rows: &Rows) -> Result<Vec<Vec<u8>>, Fault> {
        let rows: Vec<(MsgId, &[u8])> = rows.each().collect();
        let mut items = Items::default();
        let mut rest = rows.as_slice();
        while !rest.is_empty() {
            let ascending = 1 + rest.windows(2).take_while(|pair| pair[0].0 < pair[1].0).count();
            let (mut run, after) = rest.split_at(ascending);
            while !run.is_empty() {
                run = self.pass_structures(account, run, &mut items)?;
            }
            rest = after;
        }
        items.end();
        Ok(items.full)
    }

    /// Goes on through the index for as long as what is wanted lies close together; the rows that are left, fewer than
    /// given.
    fn pass_structures<'r>(
        &self,
        account: AccountId,
        run: &'r [(MsgId, &'r [u8])],
        items: &mut Items,
    ) -> Result<&'r [(MsgId, &'r [u8])], Fault> {
        let [(first, _), .., (last, _)] = run else {
            for (id, row) in run {
                self.push_one(account, *id, row, items)?;
            }
            return Ok(&[]);
        };
        let (from, to) = (keys::cold(account, *first), keys::cold(account, MsgId(last.0.saturating_add(1))));
        let range = (Bound::Included(from.as_slice()), Bound::Excluded(to.as_slice()));
        let (mut left, mut passed, mut large, mut outcome) = (run, 0, None, Ok(()));
        let mut is_through = true;
        self.engine.visit(range, |key, chunk| {
            let stop = ControlFlow::Break(());
            let Some((there, number)) = keys::cold_part(key) else { return ControlFlow::Continue(()) };
            // What has no cold part is not there any more.
            while let [(id, row), rest @ ..] = left
                && *id < there
            {
                items.push(row, None);
                left = rest;
            }
            is_through = false;
            match left {
                [(id, row), rest @ ..] if *id == there && number == 0 => {
                    // In several chunks.
                    if chunk.len() >= keys::CHUNK {
                        large = Some((*id, *row));
                        left = rest;
                        return stop;
                    }
                    match decode_front(key, chunk) {
                        Ok(front) => items.push(row, Some(&front.structure)),
                        Err(corrupt) => {
                            outcome = Err(corrupt);
                            return stop;
                        }
                    }
                    left = rest;
                    passed = 0;
                }
                [] => return stop,
                _ => passed += 1,
            }
            if passed > STRUCTURES_PASSED {
                return stop;
            }
            is_through = true;
            ControlFlow::Continue(())
        })?;
        outcome?;
        if let Some((id, row)) = large {
            self.push_one(account, id, row, items)?;
        } else if is_through {
            left.iter().for_each(|(_, row)| items.push(row, None));
            left = &[];
        } else if let [(id, row), rest @ ..] = left
            && left.len() == run.len()
        {
            // Nothing that is stored as it should be leads here; it is not a reason to go round for ever.
            self.push_one(account, *id, row, items)?;
            left = rest;
        }
        Ok(left)
    }

    fn push_one(&self, account: AccountId, id: MsgId, row: &[u8], items: &mut Items) -> Result<(), Fault> {
        let key = keys::cold(account, id);
        match self.engine.blob(&key)? {
            Some(blob) => items.push(row, Some(&decode_front(&key, &blob)?.structure)),
            None => items.push(row, None),
        }
        Ok(())
    }
}
