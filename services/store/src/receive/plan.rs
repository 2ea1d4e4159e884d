//! Who gets a message: each account once, whichever of its addresses and lists were named (rows SR-12, SR-13).

use crate::directory::Destination;
use crate::store::Store;
use libmox_store::{Deliver, DeliverTo, Delivered};
use libmox_types::AccountId;
use std::collections::BTreeMap;

/// One account that gets a message.
pub struct Target {
    pub name: String,
    /// How it gets it: the recipient as it was named, and where it goes.
    pub to: DeliverTo,
    /// The recipients that are served by it; `true` for those that are lists it is on.
    pub places: Vec<(usize, bool)>,
}

/// All of them. Locks are always taken in this order, so two deliveries never wait for each other.
pub type Plan = BTreeMap<AccountId, Target>;

impl Store {
    /// Finds the accounts; a result for each recipient that has none.
    pub fn plan(&self, request: &Deliver) -> (Plan, Vec<Option<Delivered>>) {
        let directory = self.directory();
        let mut results: Vec<Option<Delivered>> = vec![None; request.recipients.len()];
        let mut plan = Plan::new();
        let mut lists = Vec::new();
        let mut add = |id: AccountId, name: String, at: usize, list: bool, to: &dyn Fn() -> DeliverTo| {
            let target = plan.entry(id).or_insert_with(|| Target { name, to: to(), places: Vec::new() });
            target.places.push((at, list));
        };
        for (at, recipient) in request.recipients.iter().enumerate() {
            match directory.resolve(&recipient.recipient) {
                Destination::Account(name, id) => add(id, name, at, false, &|| recipient.clone()),
                Destination::List(alias) => lists.push((at, alias)),
                Destination::Nobody | Destination::Foreign => results[at] = Some(Delivered::UnknownUser),
                Destination::Disabled => results[at] = Some(Delivered::Deferred("domain is disabled".into())),
            }
        }
        // Lists last: who is named beside them gets the message as named.
        let from = request.facts.from.as_ref();
        for (at, alias) in lists {
            if !directory.may_post(&alias, from) {
                results[at] = Some(Delivered::NotMember);
                continue;
            }
            let asked = &request.recipients[at];
            let mut any = false;
            for member in directory.readers(&alias, from) {
                let Destination::Account(name, id) = directory.resolve_address(&member) else { continue };
                any = true;
                let destined = asked.destined.as_ref().and_then(|destined| {
                    let own = |one: &&libmox_store::Member| directory.is_same(&one.address, &member);
                    destined.members.iter().find(own).map(|one| one.destined.clone())
                });
                add(id, name, at, true, &|| DeliverTo { destined: destined.clone(), ..asked.clone() });
            }
            if !any {
                results[at] = Some(Delivered::Deferred("none of the list is here".into()));
            }
        }
        (plan, results)
    }
}

/// Notes what became of an account for the recipients it serves. For a list one member who has it is enough.
pub fn note(results: &mut [Option<Delivered>], target: &Target, result: &Delivered) {
    let rank = |result: &Option<Delivered>| match result {
        None => 0,
        Some(Delivered::Stored(_)) => 4,
        Some(Delivered::Refused { kept: true }) => 3,
        Some(Delivered::Refused { kept: false }) => 2,
        Some(_) => 1,
    };
    for (at, _) in &target.places {
        let result = Some(result.clone());
        if rank(&result) > rank(&results[*at]) {
            results[*at] = result;
        }
    }
}
