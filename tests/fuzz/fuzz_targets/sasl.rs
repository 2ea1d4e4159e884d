//! Both sides of a login with a peer that says anything.
#![no_main]

use libfuzzer_sys::fuzz_target;
use libmox_sasl::scram::{Hash, derive, verify};
use libmox_sasl::{
    Answer, Bindings, ClientBinding, Mechanism, Question, ScramClient, Secret, ServerExchange, Step,
    decode_line,
};

fuzz_target!(|data: &[u8]| {
    let Some((&choice, data)) = data.split_first() else { return };
    let _ = decode_line(data);
    if choice & 128 == 0 { server(choice, data) } else { client(data) }
});

fn server(choice: u8, data: &[u8]) {
    let mechanism = Mechanism::ALL[usize::from(choice) % Mechanism::ALL.len()];
    let bindings = Bindings { exporter: (choice & 64 != 0).then(|| vec![7; 32]), end_point: None };
    let mut exchange = ServerExchange::new(mechanism, bindings);
    let mut messages = data.split(|&b| b == b'\n');
    let mut step = if choice & 32 != 0 { exchange.begin() } else { Step::Challenge(Vec::new()) };
    loop {
        step = match step {
            Step::Challenge(_) => match messages.next() {
                Some(message) => exchange.on_message(message),
                None => return,
            },
            Step::Ask(Question::ScramStart { username, .. }) => {
                assert!(!username.is_empty());
                exchange.on_answer(Answer::Scram {
                    exchange: 1,
                    salt: vec![1; 16],
                    iterations: 4_096,
                    server_nonce: "server".into(),
                })
            }
            Step::Ask(Question::ScramFinish { auth_message, proof, .. }) => {
                let verifier = derive(Hash::Sha256, &Secret("not this one".into()), &[1; 16], 1);
                assert!(verify(&verifier, &auth_message, &proof).is_none(), "a proof out of thin air");
                exchange.on_answer(Answer::Denied)
            }
            Step::Ask(Question::Password { username, .. }) => {
                assert!(!username.is_empty());
                exchange.on_answer(Answer::Granted { server_signature: Vec::new() })
            }
            Step::Ask(Question::CramStart) => {
                exchange.on_answer(Answer::Cram { exchange: 1, challenge: "<1@x>".into() })
            }
            Step::Ask(Question::CramFinish { username, .. }) => {
                assert!(!username.is_empty());
                exchange.on_answer(Answer::Denied)
            }
            Step::Ask(Question::Certificate { authorize }) => {
                assert!(authorize.is_none_or(|name| !name.is_empty()));
                exchange.on_answer(Answer::Granted { server_signature: Vec::new() })
            }
            Step::Done | Step::Failed(_) => return,
        };
    }
}

fn client(data: &[u8]) {
    let password = Secret("open sesame".into());
    let Ok(mut client) =
        ScramClient::new(Hash::Sha256, "jane@example.org", &password, "nonce".into(), ClientBinding::None)
    else {
        return;
    };
    let mut messages = data.split(|&b| b == b'\n');
    let first = messages.next().unwrap_or_default();
    if client.on_server_first(first).is_ok() {
        assert!(
            client.on_server_final(messages.next().unwrap_or_default()).is_err(),
            "a server out of thin air"
        );
    }
}
