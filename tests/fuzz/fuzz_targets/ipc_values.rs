//! Payloads of the data plane, from both ends: what decodes encodes to something that decodes to the same octets.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libmox_ipc::Contract;
use libmox_store::AppendMessage;
use serde::Serialize;
use serde::de::DeserializeOwned;

fn stable<T: Serialize + DeserializeOwned>(octets: &[u8]) {
    let Ok(value) = postcard::from_bytes::<T>(octets) else { return };
    let first = postcard::to_allocvec(&value).expect("what was decoded encodes");
    let again: T = postcard::from_bytes(&first).expect("what we wrote decodes");
    assert_eq!(first, postcard::to_allocvec(&again).expect("encodes"));
}

fn contract<C: Contract>(choice: u8, octets: &[u8]) {
    match choice & 3 {
        0 => stable::<C::Request>(octets),
        1 => stable::<Result<C::Reply, C::Fault>>(octets),
        2 => stable::<C::Item>(octets),
        _ => stable::<libmox_ipc::Hello>(octets),
    }
}

/// Messages behind one another, as AppendListed has them: read and written again they are the same.
fn list(octets: &[u8]) {
    let written = |messages: &[AppendMessage]| {
        let mut list = Vec::new();
        messages.iter().for_each(|message| message.list_in(&mut list));
        list
    };
    let Some(messages) = AppendMessage::listed(octets, 256) else { return };
    let again = written(&messages);
    let read = AppendMessage::listed(&again, messages.len()).expect("what we wrote reads");
    assert_eq!(again, written(&read));
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, octets)) = data.split_first() else { return };
    if choice >> 4 == 15 {
        return list(octets);
    }
    match choice >> 2 & 3 {
        0 | 1 => contract::<libmox_store::StoreContract>(choice, octets),
        2 => contract::<libmox_keys::KeysContract>(choice, octets),
        _ => contract::<libmox_verify::VerifyContract>(choice, octets),
    }
});
