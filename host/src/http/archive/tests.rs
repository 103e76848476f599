use std::fs;
use std::io::Write;

use super::*;

fn exchange(url: &str, body: impl Into<Bytes>) -> Exchange {
    Exchange {
        read: "repos".to_owned(),
        attempt: 1,
        method: "GET".to_owned(),
        url: url.to_owned(),
        status: Some(200),
        headers: vec![("x-a".to_owned(), "1".to_owned())],
        body: body.into(),
        encoding: "identity".to_owned(),
        started_ms: 5,
        elapsed_ms: 6,
        ..Exchange::default()
    }
}

fn entries(folder: &Path) -> (Vec<Entry>, Bodies) {
    let reader = Archive::read(folder).unwrap();
    let bodies = reader.bodies();
    (reader.map(Result::unwrap).collect(), bodies)
}

fn body_of(entry: &Entry) -> &BodyRef {
    match entry {
        Entry::Exchange(exchange) => exchange.body.as_ref().unwrap(),
        Entry::Note(_) => panic!("a note"),
    }
}

fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..bytes).map(|_| rng.u8(..)).collect()
}

#[tokio::test]
async fn what_is_appended_is_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(folder.path()).unwrap();
    let text = "some text, some text, ".repeat(1_000);
    let compressed = zstd::encode_all(text.as_bytes(), 3).unwrap();
    let request_body = Some(Bytes::from_static(b"{\"k\":\"__secret.k__\"}"));
    archive.append(Exchange { request_body, ..exchange("https://a.example/1", text.clone()) }).await.unwrap();
    let zstd = Exchange { encoding: "zstd".to_owned(), ..exchange("https://a.example/2", compressed.clone()) };
    archive.append(zstd).await.unwrap();
    archive.note("repos", "clock", serde_json::json!(1_700_000_000_000_u64)).await.unwrap();
    archive.append(exchange("https://a.example/3", "")).await.unwrap();
    archive.flush().await.unwrap();

    let (entries, bodies) = entries(folder.path());
    assert_eq!(entries.iter().map(Entry::seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
    let first = body_of(&entries[0]);
    assert_eq!((first.stored, first.size), (Stored::Zstd, text.len() as u64));
    assert!(first.length < 1_000);
    assert_eq!(bodies.load(first).unwrap(), text);
    let second = body_of(&entries[1]);
    assert_eq!((second.stored, second.encoding.as_str()), (Stored::Raw, "zstd"));
    assert_eq!(bodies.load(second).unwrap(), compressed);
    assert_eq!(bodies.load_decoded(second, 1 << 20).unwrap(), text);
    assert!(bodies.load_decoded(second, 10).is_err());
    let note =
        Note { seq: 3, kind: "clock".into(), read: "repos".into(), value: serde_json::json!(1_700_000_000_000_u64) };
    assert_eq!(entries[2], Entry::Note(note));
    let Entry::Exchange(exchange) = &entries[0] else { panic!() };
    assert_eq!(bodies.load(exchange.request.body.as_ref().unwrap()).unwrap(), "{\"k\":\"__secret.k__\"}");
    assert_eq!((exchange.started_ms, exchange.elapsed_ms, exchange.headers.len()), (5, 6, 1));
    assert!(matches!(&entries[3], Entry::Exchange(exchange) if exchange.body.is_none()));
}

#[tokio::test]
async fn equal_bodies_are_stored_once_even_across_runs() {
    let folder = tempfile::tempdir().unwrap();
    let body = noise(10_000, 1);
    for _ in 0..3 {
        let archive = Archive::open(folder.path()).unwrap();
        archive.append(exchange("https://a.example/", body.clone())).await.unwrap();
        archive.append(exchange("https://a.example/", body.clone())).await.unwrap();
        archive.flush().await.unwrap();
    }
    assert_eq!(fs::metadata(segment_path(folder.path(), 1)).unwrap().len(), 10_000);
    let (entries, _) = entries(folder.path());
    assert_eq!(entries.iter().map(Entry::seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn a_full_segment_is_followed_by_another() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open_with(folder.path(), 20_000, Vec::new()).unwrap();
    for number in 0..7 {
        archive.append(exchange("https://a.example/", noise(10_000, number))).await.unwrap();
    }
    archive.flush().await.unwrap();
    let (entries, bodies) = entries(folder.path());
    let segments: Vec<u32> = entries.iter().map(|entry| body_of(entry).segment).collect();
    assert_eq!(segments, [1, 1, 2, 2, 3, 3, 4]);
    for (number, entry) in entries.iter().enumerate() {
        assert_eq!(bodies.load(body_of(entry)).unwrap(), noise(10_000, number as u64));
    }
}

#[tokio::test]
async fn a_torn_end_is_cut_off_wherever_it_is_torn() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(folder.path()).unwrap();
    assert_eq!(archive.append(exchange("https://a.example/1", "one")).await.unwrap(), Some(1));
    assert_eq!(archive.append(exchange("https://a.example/2", "two")).await.unwrap(), Some(2));
    archive.flush().await.unwrap();
    let manifest = manifest_path(folder.path());
    let whole = fs::read(&manifest).unwrap();
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for end in first..=whole.len() {
        fs::write(&manifest, &whole[..end]).unwrap();
        let resumed = Archive::open(folder.path()).unwrap();
        let number = resumed.append(exchange("https://a.example/3", "three")).await.unwrap();
        resumed.flush().await.unwrap();
        let (entries, bodies) = entries(folder.path());
        let expected: &[u64] = if end == whole.len() { &[1, 2, 3] } else { &[1, 2] };
        assert_eq!(number.as_ref(), expected.last());
        assert_eq!(entries.iter().map(Entry::seq).collect::<Vec<_>>(), expected, "cut at {end}");
        assert_eq!(bodies.load(body_of(entries.last().unwrap())).unwrap(), "three");
    }
}

#[tokio::test]
async fn lines_whose_bodies_are_lost_are_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(folder.path()).unwrap();
    for number in 0..3 {
        archive.append(exchange("https://a.example/", noise(1_000, number))).await.unwrap();
    }
    archive.flush().await.unwrap();
    let segment = fs::OpenOptions::new().write(true).open(segment_path(folder.path(), 1)).unwrap();
    segment.set_len(1_500).unwrap();
    let resumed = Archive::open(folder.path()).unwrap();
    resumed.append(exchange("https://a.example/", noise(1_000, 1))).await.unwrap();
    resumed.flush().await.unwrap();
    let (entries, bodies) = entries(folder.path());
    assert_eq!(entries.len(), 2);
    assert_eq!(bodies.load(body_of(&entries[1])).unwrap(), noise(1_000, 1));
}

#[tokio::test]
async fn a_malformed_line_in_the_middle_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(folder.path()).unwrap();
    for _ in 0..3 {
        archive.append(exchange("https://a.example/", "x")).await.unwrap();
    }
    archive.flush().await.unwrap();
    let manifest = manifest_path(folder.path());
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replacen("\"seq\":2", "\"seq\":\"2\"", 1)).unwrap();
    let error = Archive::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("line 2 is malformed"), "{error}");
    assert!(Archive::read(folder.path()).unwrap().any(|entry| entry.is_err()));
}

#[tokio::test]
async fn a_body_that_was_changed_on_the_disk_is_damage() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(folder.path()).unwrap();
    archive.append(exchange("https://a.example/", noise(100, 1))).await.unwrap();
    archive.append(exchange("https://a.example/", "text ".repeat(100))).await.unwrap();
    archive.flush().await.unwrap();
    let segment = segment_path(folder.path(), 1);
    let mut bytes = fs::read(&segment).unwrap();
    bytes[50] ^= 1;
    let last = bytes.len() - 5;
    bytes[last] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let (entries, bodies) = entries(folder.path());
    for entry in &entries {
        assert!(matches!(bodies.load(body_of(entry)), Err(Error::Damaged { .. })));
    }
    let far = BodyRef { offset: u64::MAX, ..body_of(&entries[0]).clone() };
    assert!(matches!(bodies.load(&far), Err(Error::Damaged { .. })));
}

#[tokio::test]
async fn a_disk_that_fails_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    // Every write to this device says that it is full.
    std::os::unix::fs::symlink("/dev/full", segment_path(folder.path(), 1)).unwrap();
    let archive = Archive::open(folder.path()).unwrap();
    let mut last = archive.append(exchange("https://a.example/", "x")).await.map(|_| ());
    if last.is_ok() {
        last = archive.flush().await;
    }
    let error = last.unwrap_err();
    assert!(error.to_string().starts_with("can't write the archive (free some space, or run with --no-archive): "));
    assert!(matches!(&error, Error::Write { source, .. } if source.kind() == std::io::ErrorKind::StorageFull));
    assert!(archive.append(exchange("https://a.example/", "x")).await.is_err());
    assert!(archive.flush().await.is_err());
}

#[test]
fn a_folder_that_can_not_be_made_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::File::create(&file).unwrap().write_all(b"x").unwrap();
    assert!(matches!(Archive::open(&file.join("archive")), Err(Error::Write { .. })));
}

#[tokio::test]
async fn a_disabled_archive_keeps_nothing() {
    let archive = Archive::disabled();
    archive.append(exchange("https://a.example/", "x")).await.unwrap();
    archive.note("repos", "seed", serde_json::json!(1)).await.unwrap();
    archive.flush().await.unwrap();
}

#[tokio::test]
async fn a_body_larger_than_the_queue_still_goes_through() {
    let folder = tempfile::tempdir().unwrap();
    let archive = Archive::open(folder.path()).unwrap();
    for _ in 0..2 {
        archive.append(exchange("https://a.example/", vec![0; QUEUE_BYTES + 1])).await.unwrap();
    }
    archive.flush().await.unwrap();
}
