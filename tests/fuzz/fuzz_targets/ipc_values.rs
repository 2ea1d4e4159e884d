//! Payloads of the data plane, from both ends: what decodes encodes to something that decodes to the same octets.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libmox_ipc::Contract;
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

fuzz_target!(|data: &[u8]| {
    let Some((&choice, octets)) = data.split_first() else { return };
    match choice >> 2 & 3 {
        0 | 1 => contract::<libmox_store::StoreContract>(choice, octets),
        2 => contract::<libmox_keys::KeysContract>(choice, octets),
        _ => contract::<libmox_verify::VerifyContract>(choice, octets),
    }
});
