//! What a program built on `async-imap` would do, for `tests/system/clients.py`.
//!
//! Arguments: host name, port, file with the certificate of the authority, user, password. Says "content" at the end.
//! Does not know: mox, or how it came to be there.
//! Fails with: a panic at the first answer that is not as it should be.

use async_imap::Session;
use async_imap::extensions::idle::IdleResponse;
use async_imap::types::{Flag, QuotaResourceName};
use futures::TryStreamExt as _;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

const MAILBOX: &str = "rust/nested";

struct Server {
    host: String,
    port: u16,
    authority: String,
    user: String,
    password: String,
}

impl Server {
    async fn sign_in(&self) -> Session<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.authority).expect("certificate")).expect("authority");
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await.expect("connection");
        let name = ServerName::try_from(self.host.clone()).expect("name");
        let tls = TlsConnector::from(Arc::new(config)).connect(name, tcp).await.expect("TLS");
        let mut client = async_imap::Client::new(tls);
        client.read_response().await.expect("greeting").expect("greeting");
        client.login(&self.user, &self.password).await.map_err(|(error, _)| error).expect("login")
    }
}

fn message(subject: &str) -> String {
    format!(
        "From: a@far.test\r\nSubject: {subject}\r\nMessage-Id: <{subject}@far.test>\r\n\r\nbody of {subject}\r\n"
    )
}

/// A whole job, over any stream.
async fn work<T>(session: &mut Session<T>)
where
    T: AsyncRead + AsyncWrite + Unpin + Debug + Send,
{
    session.create(MAILBOX).await.expect("CREATE");
    session.subscribe(MAILBOX).await.expect("SUBSCRIBE");
    let names: Vec<_> =
        session.list(None, Some("rust*")).await.expect("LIST").try_collect().await.expect("LIST");
    assert!(names.iter().any(|name| name.name() == MAILBOX && name.delimiter() == Some("/")), "{names:?}");
    let lsub: Vec<_> =
        session.lsub(None, Some("rust/*")).await.expect("LSUB").try_collect().await.expect("LSUB");
    assert_eq!(lsub.len(), 1);
    for subject in ["one", "two", "three"] {
        session.append(MAILBOX, Some("(\\Flagged work)"), None, message(subject)).await.expect("APPEND");
    }
    let status = session.status(MAILBOX, "(MESSAGES UIDNEXT UIDVALIDITY UNSEEN)").await.expect("STATUS");
    assert_eq!((status.exists, status.uid_next), (3, Some(4)));
    let open = session.select_condstore(MAILBOX).await.expect("SELECT");
    assert!(open.exists == 3 && open.highest_modseq.is_some(), "{open:?}");
    let all: Vec<_> = session
        .uid_fetch("1:*", "(UID FLAGS ENVELOPE INTERNALDATE RFC822.SIZE BODYSTRUCTURE MODSEQ BODY.PEEK[])")
        .await
        .expect("FETCH")
        .try_collect()
        .await
        .expect("FETCH");
    for (fetched, subject) in all.iter().zip(["one", "two", "three"]) {
        let sent = message(subject);
        assert_eq!(fetched.body(), Some(sent.as_bytes()));
        assert_eq!(fetched.size.map(|size| size as usize), Some(sent.len()));
        let envelope = fetched.envelope().expect("envelope");
        assert_eq!(envelope.subject.as_deref(), Some(subject.as_bytes()));
        assert!(
            fetched.bodystructure().is_some()
                && fetched.internal_date().is_some()
                && fetched.modseq.is_some()
        );
        assert!(fetched.flags().any(|flag| flag == Flag::Custom("work".into())));
    }
    let found = session.uid_search("SUBJECT two BODY body").await.expect("SEARCH");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [2]);
    let flags: Vec<_> =
        session.uid_store("2", "+FLAGS (\\Seen)").await.expect("STORE").try_collect().await.expect("STORE");
    assert!(flags[0].flags().any(|flag| flag == Flag::Seen));
    session.uid_copy("3", "INBOX").await.expect("COPY");
    session.uid_mv("3", "INBOX").await.expect("MOVE");
    session.check().await.expect("CHECK");
    let _: Vec<_> =
        session.store("1", "+FLAGS (\\Deleted)").await.expect("STORE").try_collect().await.expect("STORE");
    let gone: Vec<_> = session.expunge().await.expect("EXPUNGE").try_collect().await.expect("EXPUNGE");
    assert_eq!(gone, [1]);
    assert_eq!(session.search("ALL").await.expect("SEARCH").len(), 1);
    session
        .run_command_and_check_ok("SETMETADATA \"\" (/private/comment \"value\")")
        .await
        .expect("SETMETADATA");
    let metadata = session.get_metadata("", "", "/private/comment").await.expect("GETMETADATA");
    assert_eq!(metadata[0].value.as_deref(), Some("value"));
    let (roots, quotas) = session.get_quota_root("INBOX").await.expect("GETQUOTAROOT");
    assert_eq!(roots.len(), 1);
    assert!(quotas.iter().all(|quota| quota.resources[0].name == QuotaResourceName::Storage));
    session.id_nil().await.expect("ID");
    session.close().await.expect("CLOSE");
}

async fn clean_up<T>(session: &mut Session<T>)
where
    T: AsyncRead + AsyncWrite + Unpin + Debug + Send,
{
    session.unsubscribe(MAILBOX).await.expect("UNSUBSCRIBE");
    session.rename(MAILBOX, "rust/renamed").await.expect("RENAME");
    session.delete("rust/renamed").await.expect("DELETE");
    session.delete("rust").await.expect("DELETE");
    session.select("INBOX").await.expect("SELECT");
    let copies = session.uid_search("HEADER Message-Id three@far.test").await.expect("SEARCH");
    assert_eq!(copies.len(), 2);
    for uid in copies {
        let set = uid.to_string();
        let _: Vec<_> = session
            .uid_store(&set, "+FLAGS.SILENT (\\Deleted)")
            .await
            .expect("STORE")
            .try_collect()
            .await
            .expect("STORE");
        let gone: Vec<_> =
            session.uid_expunge(&set).await.expect("EXPUNGE").try_collect().await.expect("EXPUNGE");
        assert_eq!(gone.len(), 1);
    }
    session.logout().await.expect("LOGOUT");
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let [host, port, authority, user, password] =
        std::env::args().skip(1).collect::<Vec<_>>().try_into().expect("five arguments");
    let server = Server { host, port: port.parse().expect("port"), authority, user, password };
    let mut session = server.sign_in().await;
    for name in ["IMAP4rev1", "IDLE", "MOVE", "UIDPLUS", "CONDSTORE", "METADATA", "QUOTA", "COMPRESS=DEFLATE"]
    {
        let capabilities = session.capabilities().await.expect("CAPABILITY");
        assert!(capabilities.has_str(name), "{name}");
    }
    work(&mut session).await;
    // What one waits for the other does.
    session.select(MAILBOX).await.expect("SELECT");
    let mut waiting = session.idle();
    waiting.init().await.expect("IDLE");
    let mut other = server.sign_in().await;
    let (told, _stop) = waiting.wait_with_timeout(Duration::from_secs(20));
    let append = other.append(MAILBOX, None, None, message("four"));
    let (told, appended) = tokio::join!(told, append);
    appended.expect("APPEND");
    let IdleResponse::NewData(data) = told.expect("IDLE") else { panic!("nothing was told") };
    assert!(format!("{:?}", data.parsed()).contains("Exists(2)"), "{data:?}");
    let mut session = waiting.done().await.expect("DONE");
    clean_up(&mut session).await;
    // The same all over again, compressed.
    let mut session = other.compress(|stream| stream).await.expect("COMPRESS");
    work(&mut session).await;
    clean_up(&mut session).await;
    println!("content");
}
