use std::fs;
use std::io::{self, BufRead, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;

const DEADLINE: Duration = Duration::from_secs(20);

fn socket_in(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("run/lifeboat.sock")
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("in time")
}

async fn next(requests: &mut mpsc::Receiver<Request>) -> Request {
    within(requests.recv()).await.expect("a request")
}

#[tokio::test]
async fn an_answer_comes_in_parts_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, mut requests) = ControlServer::bind(&socket_in(&dir), None).unwrap();
    let mut client = within(ControlClient::connect(&socket_in(&dir))).await.unwrap();
    for round in 0..2 {
        client.request(&json!({ "watch": round })).await.unwrap();
        let request = next(&mut requests).await;
        assert_eq!(request.value, json!({ "watch": round }));
        request.responder.send(&json!(1)).await.unwrap();
        request.responder.send(&json!(2)).await.unwrap();
        request.responder.finish(&json!("end")).await.unwrap();
        assert_eq!(within(client.next()).await.unwrap(), Reply::More(json!(1)));
        assert_eq!(within(client.next()).await.unwrap(), Reply::More(json!(2)));
        assert_eq!(within(client.next()).await.unwrap(), Reply::Done(json!("end")));
    }
}

#[tokio::test]
async fn a_refusal_and_a_dropped_request_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, mut requests) = ControlServer::bind(&socket_in(&dir), None).unwrap();
    let mut client = within(ControlClient::connect(&socket_in(&dir))).await.unwrap();
    let daemon = tokio::spawn(async move {
        next(&mut requests).await.responder.fail("no VM of that name").await.unwrap();
        next(&mut requests).await.responder.wrong("no such site").await.unwrap();
        drop(next(&mut requests).await);
        requests
    });
    let refused = within(client.call(&json!("stop"))).await.unwrap_err();
    assert_eq!(refused.to_string(), "no VM of that name");
    let wrong = within(client.call(&json!("stop"))).await.unwrap_err();
    assert!(matches!(&wrong, ClientError::Wrong(why) if why == "no such site"), "{wrong:?}");
    let dropped = within(client.call(&json!("stop"))).await.unwrap_err();
    assert!(dropped.to_string().contains("gave no answer"), "{dropped}");
    drop(within(daemon).await.unwrap());
    let stopping = within(client.call(&json!("stop"))).await.unwrap_err();
    assert!(stopping.to_string().contains("stopping"), "{stopping}");
}

#[tokio::test]
async fn the_daemon_sees_that_a_client_has_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, mut requests) = ControlServer::bind(&socket_in(&dir), None).unwrap();
    let mut client = within(ControlClient::connect(&socket_in(&dir))).await.unwrap();
    client.request(&json!("watch")).await.unwrap();
    let request = next(&mut requests).await;
    assert!(!request.responder.is_gone());
    drop(client);
    within(request.responder.gone()).await;
    assert_eq!(request.responder.send(&json!(1)).await, Err(ClientGone));
}

#[tokio::test]
async fn a_client_that_asks_nothing_more_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, mut requests) = ControlServer::bind(&socket_in(&dir), None).unwrap();
    for asked in ["\"status\"\n", "\"status\""] {
        let stream = UnixStream::connect(&socket_in(&dir)).await.unwrap();
        let (reader, mut writer) = stream.into_split();
        writer.write_all(asked.as_bytes()).await.unwrap();
        writer.shutdown().await.unwrap();
        let request = next(&mut requests).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!request.responder.is_gone(), "{asked:?}");
        request.responder.finish(&json!("yes")).await.unwrap();
        let mut reader = tokio::io::BufReader::new(reader);
        let answer = within(read_line(&mut reader)).await.unwrap();
        assert!(matches!(answer, Line::Text(line) if line == b"{\"done\":\"yes\"}"), "{asked:?}");
    }
}

#[tokio::test]
async fn malformed_and_oversized_requests_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, mut requests) = ControlServer::bind(&socket_in(&dir), None).unwrap();
    let mut client = within(ControlClient::connect(&socket_in(&dir))).await.unwrap();
    let long = "x".repeat(MAX_LINE_BYTES);
    assert!(matches!(client.request(&json!(long)).await, Err(ClientError::TooLong)));

    let (reader, mut writer) = UnixStream::connect(&socket_in(&dir)).await.unwrap().into_split();
    let mut reader = tokio::io::BufReader::new(reader);
    let mut error = async || match within(read_line(&mut reader)).await.unwrap() {
        Line::Text(line) => String::from_utf8(line).unwrap(),
        _ => panic!("no answer"),
    };
    writer.write_all(b"{ not json\n").await.unwrap();
    assert!(error().await.contains("not one line of JSON"));
    writer.write_all(b"\"good\"\n").await.unwrap();
    next(&mut requests).await.responder.finish(&json!("yes")).await.unwrap();
    assert_eq!(error().await, "{\"done\":\"yes\"}");
    writer.write_all(&vec![b'x'; MAX_LINE_BYTES + 1]).await.unwrap();
    assert!(error().await.contains("longer than"));
}

#[tokio::test]
async fn an_answer_that_is_too_long_becomes_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, mut requests) = ControlServer::bind(&socket_in(&dir), None).unwrap();
    let mut client = within(ControlClient::connect(&socket_in(&dir))).await.unwrap();
    client.request(&json!("all")).await.unwrap();
    let long = "x".repeat(MAX_LINE_BYTES);
    next(&mut requests).await.responder.finish(&json!(long)).await.unwrap();
    let error = within(client.next()).await.unwrap_err();
    assert!(error.to_string().contains("longer than"), "{error}");
}

#[tokio::test]
async fn the_socket_is_private_and_goes_with_the_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let path = socket_in(&dir);
    let (server, _requests) = ControlServer::bind(&path, None).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let second = ControlServer::bind(&path, None).unwrap_err();
    assert!(matches!(second, ControlError::AlreadyRunning(_)), "{second}");
    drop(server);
    assert!(!path.exists());
    let error = within(ControlClient::connect(&path)).await.unwrap_err().to_string();
    assert!(error.contains("not running") && error.contains("systemctl"), "{error}");
}

#[tokio::test]
async fn a_socket_of_a_dead_daemon_is_replaced_but_no_file_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lifeboat.sock");
    drop(StdListener::bind(&path).unwrap());
    let error = within(ControlClient::connect(&path)).await.unwrap_err();
    assert!(matches!(error, ClientError::NotRunning(_)), "{error}");
    let (server, _requests) = ControlServer::bind(&path, None).unwrap();
    within(ControlClient::connect(&path)).await.unwrap();
    drop(server);

    fs::write(&path, "precious").unwrap();
    let error = ControlServer::bind(&path, None).unwrap_err();
    assert!(matches!(error, ControlError::NotASocket(_)), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_group_that_does_not_exist_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let error = ControlServer::bind(&socket_in(&dir), Some("no-such-group")).unwrap_err();
    assert!(error.to_string().contains("groupadd no-such-group"), "{error}");
}

#[tokio::test]
async fn one_client_too_many_can_still_ask_and_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, _requests) = ControlServer::bind(&socket_in(&dir), None).unwrap();
    let mut idle = Vec::new();
    for _ in 0..64 {
        idle.push(within(UnixStream::connect(socket_in(&dir))).await.unwrap());
    }
    let mut late = StdStream::connect(socket_in(&dir)).unwrap();
    let talk = tokio::task::spawn_blocking(move || {
        late.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut reader = io::BufReader::new(late.try_clone().unwrap());
        let mut answer = String::new();
        reader.read_line(&mut answer).unwrap();
        // It stays open for the request that is still to come.
        late.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let closed = reader.read_line(&mut String::new());
        (answer, closed.map_err(|error| error.kind()), late.write_all(b"\"status\"\n"))
    });
    let (answer, closed, asked) = within(talk).await.unwrap();
    assert!(answer.contains("64 clients are connected already"), "{answer}");
    assert_eq!(closed, Err(io::ErrorKind::WouldBlock));
    asked.expect("it can still ask, and reads why there is no answer");
}

#[tokio::test]
async fn whoever_comes_beyond_those_that_are_waited_for_reads_why_too() {
    let dir = tempfile::tempdir().unwrap();
    let (_server, _requests) = ControlServer::bind(&socket_in(&dir), None).unwrap();
    let mut others = Vec::new();
    for _ in 0..128 {
        others.push(within(UnixStream::connect(socket_in(&dir))).await.unwrap());
    }
    for is_closed_before in [false, true] {
        let mut late = within(ControlClient::connect(&socket_in(&dir))).await.unwrap();
        if is_closed_before {
            // The daemon takes connections in their order, and has closed this one when the next is heard.
            let mut next = within(ControlClient::connect(&socket_in(&dir))).await.unwrap();
            within(next.next()).await.unwrap_err();
        }
        let refused = within(late.call(&json!("status"))).await.unwrap_err();
        assert!(refused.to_string().contains("nothing was read"), "{refused}");
    }
}
