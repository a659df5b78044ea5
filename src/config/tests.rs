//! Layers, origins, refusals; and that struct, default file and documentation agree.

use std::collections::BTreeMap;

use super::{explain::names_key, *};

/// With an empty file, so that a `millrace.toml` in the checkout means nothing here.
fn from(variables: &[(&str, &str)]) -> Result<Loaded, String> {
    with_file("", variables)
}

fn with_file(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("millrace.toml");
    std::fs::write(&path, text).unwrap();
    let variables: BTreeMap<_, _> = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    load(Start::new(variables, false).file(Some(path))).map_err(|e| e.to_string())
}

fn origin(loaded: &Loaded, key: &str) -> String {
    explain(loaded, Some(key)).unwrap()[0].origin.clone()
}

#[test]
fn the_defaults_hold_and_are_said_so() {
    let loaded = from(&[]).unwrap();
    assert_eq!(loaded.config.upload_part_bytes, Size(10 << 20));
    assert_eq!(loaded.config.stream_url_ttl, Span(std::time::Duration::from_secs(900)));
    // HLS-12
    assert_eq!(loaded.config.hls_ladder.to_string(), "aac:64k,aac:160k,aac:256k,flac");
    assert_eq!(loaded.config.hls_segment_seconds, 6);
    assert_eq!(origin(&loaded, "URL_TTL"), "the default");
    assert!(loaded.config.data.is_absolute());
}

#[test]
fn the_flag_beats_the_variable_beats_the_file_beats_the_default() {
    let file = "url_ttl = \"1m\"\nupload_expiry = \"2h\"\nupload_parts_in_flight = 4\n";
    let loaded = with_file(file, &[("URL_TTL", "3m"), ("UPLOAD_EXPIRY", "")]).unwrap();
    assert_eq!(
        (loaded.config.url_ttl.to_string(), origin(&loaded, "url_ttl")),
        ("3m".into(), "variable URL_TTL".into())
    );
    assert_eq!(loaded.config.upload_expiry.to_string(), "2h");
    assert!(origin(&loaded, "upload_expiry").ends_with("millrace.toml"));
    assert_eq!(loaded.config.upload_parts_in_flight, 4);

    let start = Start::new(BTreeMap::from([("MILLRACE_LISTEN".into(), "127.0.0.1:1".into())]), false);
    let loaded = load(start.flag("listen", "--listen", Some("127.0.0.1:2".into()))).unwrap();
    assert_eq!(loaded.config.listen.port(), 2);
    assert_eq!(origin(&loaded, "listen"), "--listen");
}

#[test]
fn what_isnt_known_is_refused_by_name() {
    assert!(with_file("upload_part_byte = 1\n", &[]).err().unwrap().contains("upload_part_byte"));
    assert!(from(&[("MILLRACE_DATE", "x")]).err().unwrap().contains("MILLRACE_DATE"));
    assert!(from(&[("MILLRACE_SKIP_INTEGRATION", "1")]).is_ok());
}

#[test]
fn a_wrong_value_is_refused_with_its_name_and_whats_right() {
    for (variable, value, hint) in [
        ("TRACK_STORAGE_BACKEND", "gcs", "use local or s3"),
        ("TRACK_STORAGE_BACKEND", "S3", "use local or s3"),
        ("S3_ENDPOINT", "s3.example", "http://"),
        ("S3_FORCE_PATH_STYLE", "yes", "true or false"),
        ("S3_STALL", "10ms", "100ms"),
        ("UPLOAD_PART_BYTES", "ten", "10MiB"),
        ("UPLOAD_PART_BYTES", "1MiB", "5MiB"),
        ("UPLOAD_MAX_BYTES", "1000GiB", "parts"),
        ("UPLOAD_MEMORY_BYTES", "10MiB", "30MiB"),
        ("URL_TTL", "15", "90s"),
        ("MILLRACE_LISTEN", "8080", "127.0.0.1:8080"),
        ("MILLRACE_TRUSTED_PROXIES", "10.0.0.0/33", "10.0.0.0/33"),
        ("HLS_LADDER", "aac:160k,opus", "opus"),
        ("MILLRACE_ROLES", "upload", "upload"),
    ] {
        let error = from(&[(variable, value)]).err().unwrap_or_else(|| panic!("{variable}={value} was taken"));
        assert!(error.contains(variable) && error.contains(hint), "{variable}={value}: {error}");
    }
}

#[test]
fn production_asks_for_what_must_be_said() {
    let ready = [("MILLRACE_ENV", "production"), ("REDIS_URL", "none"), ("MILLRACE_PUBLIC_URL", "https://m.example")];
    assert!(from(&ready).is_ok());
    assert!(from(&ready[..2]).err().unwrap().contains("MILLRACE_PUBLIC_URL"));
    assert!(from(&[ready[0], ready[2]]).err().unwrap().contains("REDIS_URL"));
    // A variable that is there but empty hasn't said anything.
    assert!(from(&[ready[0], ready[2], ("REDIS_URL", "")]).err().unwrap().contains("REDIS_URL"));
}

#[test]
fn a_bucket_is_named_whole() {
    // UP-1, S3-6
    let all = [
        ("TRACK_STORAGE_BACKEND", "s3"),
        ("S3_ENDPOINT", "http://127.0.0.1:3900/"),
        ("S3_REGION", "garage"),
        ("S3_BUCKET", "millrace"),
        ("S3_ACCESS_KEY_ID", "GK1"),
        ("S3_SECRET_ACCESS_KEY", "hunter2"),
    ];
    let loaded = from(&all).unwrap();
    assert_eq!((loaded.config.track_storage_backend, loaded.warnings.len()), (Backend::S3, 0));
    assert!(!format!("{:?}", loaded.config).contains("hunter2"));
    for missing in 1..all.len() {
        let mut some = all.to_vec();
        let (name, _) = some.remove(missing);
        let error = from(&some).err().unwrap_or_else(|| panic!("taken without {name}"));
        assert!(error.contains(name) && error.contains("must be set"), "{error}");
    }
    let unused = from(&all[2..3]).unwrap();
    assert!(unused.warnings[0].contains("S3_REGION"), "{:?}", unused.warnings);
}

#[test]
fn secrets_are_read_from_files_and_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("url");
    std::fs::write(&path, "postgres://u:hunter2@db/x\n").unwrap();
    let loaded = from(&[("DATABASE_URL_FILE", path.to_str().unwrap())]).unwrap();
    assert_eq!(loaded.config.database_url.as_ref().unwrap().expose(), "postgres://u:hunter2@db/x");
    let shown = format!(
        "{:?} {} {}",
        loaded.config,
        serde_json::to_string(&loaded.config).unwrap(),
        serde_json::to_string(&explain(&loaded, None).unwrap()).unwrap()
    );
    assert!(!shown.contains("hunter2"), "{shown}");
    let both = from(&[("DATABASE_URL_FILE", path.to_str().unwrap()), ("DATABASE_URL", "postgres://x")]);
    assert!(both.err().unwrap().contains("keep one"));
}

#[test]
fn spans_and_sizes_survive_being_shown() {
    for text in ["1ms", "90s", "15m", "1h", "36h"] {
        assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
    }
    for text in ["10MiB", "2GiB", "5242881B", "3KiB"] {
        assert_eq!(text.parse::<Size>().unwrap().to_string(), text);
    }
    assert!("99999999999999999999h".parse::<Span>().is_err());
    assert!("18446744073709551615GiB".parse::<Size>().is_err());
}

/// The struct, the default file and the documentation name the same settings, with the same defaults.
#[test]
fn struct_default_file_and_documentation_agree() {
    let keys: Vec<_> = SETTINGS.iter().map(|s| s.key).collect();
    let in_file: Vec<_> = DEFAULTS.lines().filter_map(names_key).collect();
    assert_eq!(in_file, keys, "config.default.toml lists other settings, or in another order");

    let guide = include_str!("../../docs/configuration.md");
    let rows: Vec<Vec<&str>> = guide
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect())
        .collect();
    let documented: Vec<_> = rows.iter().map(|cells| cells[1]).collect();
    assert_eq!(documented, keys, "docs/configuration.md lists other settings, or in another order");

    let defaults = from(&[]).unwrap();
    for (setting, cells) in SETTINGS.iter().zip(&rows) {
        let explained = &explain(&defaults, Some(setting.key)).unwrap()[0];
        assert_eq!(cells[0], setting.variable);
        assert!(explained.about.contains(setting.variable), "{}: its comment must name its variable", setting.key);
        if setting.key != "data" {
            assert_eq!(cells[2], explained.value.as_deref().unwrap_or(""), "{}: the documented default", setting.key);
        }
    }
}
