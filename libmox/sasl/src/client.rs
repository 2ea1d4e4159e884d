//! The client's side, for delivery through a server that wants a login.

use crate::scram::{Hash, escape, prove, same};
use crate::{BindingName, Fault, Secret, encode_line, prepare_password};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// The PLAIN message. RFC 4616 §2. None where a NUL would change its meaning.
#[must_use]
pub fn plain(username: &str, password: &Secret) -> Option<Vec<u8>> {
    if username.contains('\0') || password.0.contains('\0') {
        return None;
    }
    Some(format!("\0{username}\0{}", password.0).into_bytes())
}

/// What the client says about binding. RFC 5802 §6.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientBinding {
    /// It cannot.
    None,
    /// It could, but the server did not offer -PLUS.
    NotOffered,
    /// It does.
    Bound(BindingName, Vec<u8>),
}

impl ClientBinding {
    fn header(&self) -> String {
        match self {
            Self::None => "n,,".into(),
            Self::NotOffered => "y,,".into(),
            Self::Bound(name, _) => format!("p={},,", name.name()),
        }
    }
}

/// One SCRAM exchange.
#[derive(Debug)]
pub struct ScramClient {
    hash: Hash,
    password: Secret,
    nonce: String,
    binding: ClientBinding,
    bare: String,
    /// Expected of the server, once the proof was made.
    signature: Option<Vec<u8>>,
}

impl ScramClient {
    /// Begins; `nonce` is random, printable, without comma.
    pub fn new(
        hash: Hash,
        username: &str,
        password: &Secret,
        nonce: String,
        binding: ClientBinding,
    ) -> Result<Self, Fault> {
        let password = prepare_password(&password.0).ok_or(Fault::Denied)?;
        let bare = format!("n={},r={nonce}", escape(username));
        Ok(Self { hash, password, nonce, binding, bare, signature: None })
    }

    /// client-first.
    #[must_use]
    pub fn first(&self) -> Vec<u8> {
        format!("{}{}", self.binding.header(), self.bare).into_bytes()
    }

    /// server-first in, client-final out.
    pub fn on_server_first(&mut self, message: &[u8]) -> Result<Vec<u8>, Fault> {
        if message.len() > crate::LINE_OCTETS {
            return Err(Fault::TooLong);
        }
        let text = std::str::from_utf8(message).map_err(|_| Fault::Encoding)?;
        let mut attributes = text.split(',');
        let mut attribute = |key: &str| attributes.next().and_then(|part| part.strip_prefix(key));
        if text.starts_with("m=") {
            return Err(Fault::Extension);
        }
        let nonce = attribute("r=").ok_or(Fault::Malformed)?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(Fault::Nonce);
        }
        let salt = STANDARD.decode(attribute("s=").ok_or(Fault::Malformed)?).map_err(|_| Fault::Encoding)?;
        let iterations: u32 = attribute("i=").and_then(|count| count.parse().ok()).ok_or(Fault::Malformed)?;
        let mut binding = self.binding.header().into_bytes();
        if let ClientBinding::Bound(_, data) = &self.binding {
            binding.extend_from_slice(data);
        }
        let without_proof = format!("c={},r={nonce}", encode_line(&binding));
        let auth_message = format!("{},{text},{without_proof}", self.bare);
        let (proof, signature) =
            prove(self.hash, &self.password, &salt, iterations, auth_message.as_bytes())?;
        self.signature = Some(signature);
        Ok(format!("{without_proof},p={}", encode_line(&proof)).into_bytes())
    }

    /// server-final: only if this is Ok did we speak with one who knows the password.
    pub fn on_server_final(&self, message: &[u8]) -> Result<(), Fault> {
        let signature = self.signature.as_ref().ok_or(Fault::Order)?;
        let theirs = message.strip_prefix(b"v=").ok_or(Fault::Denied)?;
        let theirs = theirs.split(|&b| b == b',').next().unwrap_or_default();
        let theirs = STANDARD.decode(theirs).map_err(|_| Fault::Encoding)?;
        if same(&theirs, signature) { Ok(()) } else { Err(Fault::Denied) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scram::{derive, verify};
    use crate::{Answer, Bindings, Mechanism, Question, ServerExchange, Step};

    /// The example exchanges of RFC 5802 §5 and RFC 7677 §3.
    #[track_caller]
    fn vector(hash: Hash, client_nonce: &str, server_first: &str, want_final: &str, server_final: &str) {
        let mut client = ScramClient::new(
            hash,
            "user",
            &Secret("pencil".into()),
            client_nonce.into(),
            ClientBinding::None,
        )
        .unwrap();
        assert_eq!(client.first(), format!("n,,n=user,r={client_nonce}").into_bytes());
        let last = client.on_server_first(server_first.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(last).unwrap(), want_final);
        assert_eq!(client.on_server_final(server_final.as_bytes()), Ok(()));
        assert_eq!(client.on_server_final(b"v=AAAA"), Err(Fault::Denied));
        assert_eq!(client.on_server_final(b"e=other-error"), Err(Fault::Denied));
    }

    #[test]
    fn the_examples_of_the_rfcs() {
        vector(
            Hash::Sha1,
            "fyko+d2lbbFgONRv9qkxdawL",
            "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
        );
        vector(
            Hash::Sha256,
            "rOprNGfwEbeRWgbNEkqO",
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
        );
    }

    fn bindings() -> Bindings {
        Bindings { exporter: Some(vec![1; 32]), end_point: Some(vec![2; 32]) }
    }

    /// A whole exchange between our two sides.
    fn talk(
        mechanism: Mechanism,
        offered: Bindings,
        binding: ClientBinding,
        user: &str,
        password: &str,
    ) -> Step {
        let hash = mechanism.hash().unwrap();
        let verifier = derive(hash, &Secret("pencil".into()), b"salt", 4096);
        let mut client =
            ScramClient::new(hash, user, &Secret(password.into()), "cn".into(), binding).unwrap();
        let mut server = ServerExchange::new(mechanism, offered);
        assert_eq!(server.begin(), Step::Challenge(vec![]));
        match server.on_message(&client.first()) {
            Step::Ask(Question::ScramStart { hash: asked, username }) => {
                assert_eq!((asked, username.as_str()), (hash, user));
            }
            other => return other,
        }
        let answer = Answer::Scram {
            exchange: 7,
            salt: b"salt".to_vec(),
            iterations: 4096,
            server_nonce: "sn".into(),
        };
        let Step::Challenge(first) = server.on_answer(answer) else { panic!() };
        let (auth_message, proof) = match server.on_message(&client.on_server_first(&first).unwrap()) {
            Step::Ask(Question::ScramFinish { exchange: 7, auth_message, proof }) => (auth_message, proof),
            other => return other,
        };
        let answer = match verify(&verifier, &auth_message, &proof) {
            Some(server_signature) => Answer::Granted { server_signature },
            None => Answer::Denied,
        };
        match server.on_answer(answer) {
            Step::Challenge(last) => {
                client.on_server_final(&last).unwrap();
                server.on_message(b"")
            }
            other => other,
        }
    }

    #[test]
    fn both_sides_understand_each_other() {
        let exporter = ClientBinding::Bound(BindingName::TlsExporter, vec![1; 32]);
        let end_point = ClientBinding::Bound(BindingName::TlsServerEndPoint, vec![2; 32]);
        for plain in [Mechanism::ScramSha1, Mechanism::ScramSha256] {
            assert_eq!(talk(plain, Bindings::default(), ClientBinding::None, "a=b,c", "pencil"), Step::Done);
            assert_eq!(
                talk(plain, Bindings::default(), ClientBinding::NotOffered, "user", "pencil"),
                Step::Done
            );
            assert_eq!(talk(plain, bindings(), ClientBinding::None, "user", "pencil"), Step::Done);
            assert_eq!(
                talk(plain, bindings(), ClientBinding::None, "user", "pen"),
                Step::Failed(Fault::Denied)
            );
        }
        for plus in [Mechanism::ScramSha1Plus, Mechanism::ScramSha256Plus] {
            assert_eq!(talk(plus, bindings(), exporter.clone(), "user", "pencil"), Step::Done);
            assert_eq!(talk(plus, bindings(), end_point.clone(), "user", "pencil"), Step::Done);
        }
    }

    #[test]
    fn somebody_between_is_noticed() {
        let wrong = ClientBinding::Bound(BindingName::TlsExporter, vec![9; 32]);
        let failed = |mechanism, offered, binding| match talk(mechanism, offered, binding, "user", "pencil") {
            Step::Failed(fault) => fault,
            other => panic!("{other:?}"),
        };
        let sha256 = Mechanism::ScramSha256;
        assert_eq!(failed(Mechanism::ScramSha256Plus, bindings(), wrong.clone()), Fault::BindingMismatch);
        assert_eq!(failed(sha256, bindings(), ClientBinding::NotOffered), Fault::BindingDowngrade);
        assert_eq!(failed(sha256, bindings(), wrong.clone()), Fault::BindingUnsupported);
        assert_eq!(failed(Mechanism::ScramSha256Plus, Bindings::default(), wrong), Fault::BindingUnsupported);
        assert_eq!(
            failed(Mechanism::ScramSha256Plus, bindings(), ClientBinding::None),
            Fault::BindingUnsupported
        );
    }

    #[track_caller]
    fn first_fails(message: &[u8], want: Fault) {
        let mut server = ServerExchange::new(Mechanism::ScramSha256, Bindings::default());
        assert_eq!(server.on_message(message), Step::Failed(want), "{:?}", String::from_utf8_lossy(message));
        assert_eq!(server.on_message(b"x"), Step::Failed(Fault::Order));
        assert_eq!(server.on_answer(Answer::Denied), Step::Failed(Fault::Order));
    }

    #[test]
    fn what_clients_do_wrong_is_a_value() {
        // TR-09
        first_fails(b"", Fault::Malformed);
        first_fails(b"n,,", Fault::Malformed);
        first_fails(b"n,,n=user", Fault::Malformed);
        first_fails(b"x,,n=user,r=n", Fault::Malformed);
        first_fails(b"n,,n=us=er,r=n", Fault::Malformed);
        first_fails(b"n,,n=user,r=", Fault::Malformed);
        first_fails(b"n,,m=1,n=user,r=n", Fault::Extension);
        first_fails(b"p=tls-unique,,n=user,r=n", Fault::BindingUnsupported);
        first_fails(b"n,a=other,n=user,r=n", Fault::Authorization);
        first_fails(b"n,other,n=user,r=n", Fault::Malformed);
        let mut server = ServerExchange::new(Mechanism::ScramSha256, Bindings::default());
        assert!(matches!(server.on_message(b"n,a=,n=user,r=n"), Step::Ask(Question::ScramStart { .. })));
        first_fails("n,,n=e\u{301},r=n".as_bytes(), Fault::Username);
        first_fails(b"n,,n=,r=n", Fault::Username);
        first_fails(b"\xff", Fault::Encoding);
        first_fails(&vec![b'a'; 20_000], Fault::TooLong);
        // Rows AU-02, AU-13: whoever it was, it is known where that was said.
        for (message, name) in [
            (&b"y,,n=us=2Cer,r=n"[..], Some("us,er")),
            (b"p=tls-unique,,n=user,r=n", Some("user")),
            (b"n,,r=n", None),
            (b"n,,n=us=er,r=n", None),
        ] {
            let mut server = ServerExchange::new(Mechanism::ScramSha256, bindings());
            let Step::Failed(fault) = server.on_message(message) else { panic!("{message:?}") };
            assert_eq!(server.username(), name, "{message:?}");
            assert_eq!(fault.is_binding(), message.starts_with(b"y"), "{message:?}");
        }
        let last = |message: &[u8]| {
            let mut server = ServerExchange::new(Mechanism::ScramSha256, Bindings::default());
            server.on_message(b"n,,n=user,r=cn");
            server.on_answer(Answer::Scram {
                exchange: 1,
                salt: vec![1],
                iterations: 1,
                server_nonce: "sn".into(),
            });
            server.on_message(message)
        };
        for (message, want) in [
            (&b""[..], Fault::Malformed),
            (b"c=biws,r=cnsn", Fault::Malformed),
            (b"c=biws,r=cn,p=AAAA", Fault::Nonce),
            (b"c=biws,r=cnsnx,p=AAAA", Fault::Nonce),
            (b"c=eSws,r=cnsn,p=AAAA", Fault::BindingMismatch),
            (b"c=!,r=cnsn,p=AAAA", Fault::Encoding),
            (b"c=biws,r=cnsn,p=!", Fault::Encoding),
            (b"c=biws,r=cnsn,m=x,p=AAAA", Fault::Extension),
        ] {
            assert_eq!(last(message), Step::Failed(want), "{message:?}");
        }
        assert!(
            matches!(last(b"c=biws,r=cnsn,p="), Step::Ask(Question::ScramFinish { proof, .. }) if proof.is_empty())
        );
        let verifier = derive(Hash::Sha256, &Secret("p".into()), b"s", 1);
        assert_eq!(verify(&verifier, b"", b""), None);
        assert_eq!(verify(&verifier, b"", &[0; 32]), None);
    }

    #[test]
    fn plain_and_login() {
        let ask = |username: &str| {
            Step::Ask(Question::Password { username: username.into(), password: Secret("pw".into()) })
        };
        let plain_step =
            |message: &[u8]| ServerExchange::new(Mechanism::Plain, Bindings::default()).on_message(message);
        assert_eq!(plain_step(b"\0user\0pw"), ask("user"));
        assert_eq!(plain_step(b"user\0user\0pw"), ask("user"));
        assert_eq!(plain_step("\0e\u{301}\0pw".as_bytes()), ask("\u{e9}")); // TR-49
        assert_eq!(plain_step(b"other\0user\0pw"), Step::Failed(Fault::Authorization));
        assert_eq!(plain_step(b"user\0pw"), Step::Failed(Fault::Malformed));
        assert_eq!(plain_step(b"\0user\0p\0w"), Step::Failed(Fault::Malformed));
        assert_eq!(plain_step(b"\0\0pw"), Step::Failed(Fault::Username));
        assert_eq!(plain_step(b"\0user\0\xff"), Step::Failed(Fault::Encoding));
        assert_eq!(plain("user", &Secret("pw".into())), Some(b"\0user\0pw".to_vec()));
        assert_eq!(plain("us\0er", &Secret("pw".into())), None);

        let mut login = ServerExchange::new(Mechanism::Login, Bindings::default());
        assert_eq!(login.begin(), Step::Challenge(b"Username:".to_vec()));
        assert_eq!(login.on_message(b"user"), Step::Challenge(b"Password:".to_vec()));
        assert_eq!(login.on_message(b"pw"), ask("user"));
        assert_eq!(login.on_answer(Answer::Granted { server_signature: vec![] }), Step::Done);
    }

    #[test]
    fn cram_and_external() {
        let mut cram = ServerExchange::new(Mechanism::CramMd5, Bindings::default());
        assert_eq!(cram.begin(), Step::Ask(Question::CramStart));
        let answer = Answer::Cram { exchange: 3, challenge: "<1@x>".into() };
        assert_eq!(cram.on_answer(answer), Step::Challenge(b"<1@x>".to_vec()));
        let said = crate::cram::answer("e\u{301}@x", &Secret("pw".into()), b"<1@x>");
        let Step::Ask(Question::CramFinish { exchange: 3, username, digest }) =
            cram.on_message(said.as_bytes())
        else {
            panic!()
        };
        assert_eq!(username, "\u{e9}@x"); // TR-49
        assert!(crate::cram::verify(&crate::cram::derive(&Secret("pw".into())), b"<1@x>", &digest));
        assert_eq!(cram.on_answer(Answer::Granted { server_signature: vec![] }), Step::Done);
        let fails = |message: &[u8]| {
            let mut cram = ServerExchange::new(Mechanism::CramMd5, Bindings::default());
            cram.begin();
            cram.on_answer(Answer::Cram { exchange: 3, challenge: "<1@x>".into() });
            cram.on_message(message)
        };
        assert_eq!(fails(b""), Step::Failed(Fault::Malformed));
        assert_eq!(fails(b" 00000000000000000000000000000000"), Step::Failed(Fault::Username));
        let mut early = ServerExchange::new(Mechanism::CramMd5, Bindings::default());
        assert_eq!(early.on_message(b"x"), Step::Failed(Fault::Malformed));

        let external = |message: &[u8]| {
            ServerExchange::new(Mechanism::External, Bindings::default()).on_message(message)
        };
        assert_eq!(external(b""), Step::Ask(Question::Certificate { authorize: None }));
        let asked = Question::Certificate { authorize: Some("\u{e9}@x".into()) };
        assert_eq!(external("e\u{301}@x".as_bytes()), Step::Ask(asked));
        assert_eq!(external(b"a\0b"), Step::Failed(Fault::Username));
        assert_eq!(
            ServerExchange::new(Mechanism::External, Bindings::default()).begin(),
            Step::Challenge(vec![])
        );
    }

    #[test]
    fn a_hostile_server_gets_no_work_and_no_trust() {
        let mut client =
            ScramClient::new(Hash::Sha256, "u", &Secret("p".into()), "cn".into(), ClientBinding::None)
                .unwrap();
        assert_eq!(client.on_server_final(b"v=AAAA"), Err(Fault::Order));
        for (message, want) in [
            (&b"r=cnx,s=AAAA,i=4000000000"[..], Fault::Iterations),
            (b"r=cnx,s=AAAA,i=0", Fault::Iterations),
            (b"r=cnx,s=AAAA,i=-1", Fault::Malformed),
            (b"r=cn,s=AAAA,i=1", Fault::Nonce),
            (b"r=other,s=AAAA,i=1", Fault::Nonce),
            (b"m=x,r=cnx,s=AAAA,i=1", Fault::Extension),
            (b"e=unknown-user", Fault::Malformed),
            (b"", Fault::Malformed),
        ] {
            assert_eq!(client.on_server_first(message), Err(want), "{message:?}");
        }
    }

    #[test]
    fn decoys_are_steady() {
        let decoy = |name| crate::scram::decoy_salt(b"secret", Hash::Sha256, name);
        assert_eq!(decoy("a"), decoy("a"));
        assert_ne!(decoy("a"), decoy("b"));
        assert_eq!(crate::decode_line(b"="), Ok(vec![]));
        assert_eq!(crate::decode_line(b"a!"), Err(Fault::Encoding));
        assert_eq!(crate::decode_line(&[b'A'; 13_000]), Err(Fault::TooLong));
    }
}
