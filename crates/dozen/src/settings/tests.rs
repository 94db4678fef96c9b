use super::*;

fn caller(root: bool) -> Caller {
    Caller {
        root,
        passwd_home: || Some(PathBuf::from("/home/passwd")),
        terminals: (false, false),
        binary: PathBuf::from("/usr/bin/dozen"),
    }
}

fn resolved(root: bool, vars: &[(&str, &str)]) -> Settings {
    resolve(&GlobalFlags::default(), &Environment::of(vars), &caller(root)).unwrap()
}

#[test]
fn root_keeps_state_in_var_lib() {
    let settings = resolved(true, &[("HOME", "/root"), ("XDG_RUNTIME_DIR", "/run/user/0")]);
    assert_eq!(settings.home, Path::new("/var/lib/dozen"));
    assert_eq!(settings.run, Path::new("/run/dozen"));
    assert_eq!(settings.fallback, None);
}

#[test]
fn an_ordinary_user_keeps_state_in_the_xdg_folders() {
    let settings = resolved(false, &[("HOME", "/home/ann"), ("XDG_RUNTIME_DIR", "/run/user/7")]);
    assert_eq!(settings.home, Path::new("/home/ann/.local/share/dozen"));
    assert_eq!(settings.run, Path::new("/run/user/7/dozen"));
    let settings = resolved(false, &[("HOME", "/home/ann"), ("XDG_DATA_HOME", "/data")]);
    assert_eq!(settings.home, Path::new("/data/dozen"));
    assert_eq!(settings.run, Path::new("/data/dozen/run"));
}

#[test]
fn a_missing_home_is_looked_up_in_the_user_database() {
    assert_eq!(resolved(false, &[]).home, Path::new("/home/passwd/.local/share/dozen"));
    assert_eq!(resolved(false, &[("HOME", "")]).home, Path::new("/home/passwd/.local/share/dozen"));
}

#[test]
fn without_any_home_the_error_names_the_variables_to_set() {
    let nobody = Caller { passwd_home: || None, ..caller(false) };
    let error = resolve(&GlobalFlags::default(), &Environment::default(), &nobody).unwrap_err();
    assert!(error.hint().unwrap().contains("DOZEN_HOME"));
    let named = Environment::of(&[("DOZEN_HOME", "/d")]);
    assert!(resolve(&GlobalFlags::default(), &named, &nobody).is_ok());
}

#[test]
fn a_named_state_folder_brings_its_own_sockets() {
    let settings = resolved(true, &[("DOZEN_HOME", "/srv/second")]);
    assert_eq!(settings.server, ServerAddress::Unix("/srv/second/run/control.sock".into()));
    let settings = resolved(true, &[("DOZEN_HOME", "/srv/second"), ("DOZEN_RUN", "/run/second")]);
    assert_eq!(settings.server, ServerAddress::Unix("/run/second/control.sock".into()));
}

#[test]
fn a_flag_wins_over_a_variable() {
    let flags = GlobalFlags { server: Some("ssh://b".parse().unwrap()), color: None };
    let env = Environment::of(&[("DOZEN_SERVER", "ssh://a"), ("HOME", "/h")]);
    let settings = resolve(&flags, &env, &caller(false)).unwrap();
    assert_eq!(settings.server.to_string(), "ssh://b");
    assert_eq!(settings.fallback, None);
}

#[test]
fn a_bad_name_in_a_variable_is_refused_with_the_variables_name() {
    let env = Environment::of(&[("HOME", "/h"), ("DOZEN_APP", "No App")]);
    let error = resolve(&GlobalFlags::default(), &env, &caller(false)).unwrap_err();
    assert!(error.to_string().contains("DOZEN_APP"), "{error}");
}

#[test]
fn an_ordinary_user_falls_back_to_the_machines_server_only_when_nothing_was_named() {
    assert!(resolved(false, &[("HOME", "/h")]).fallback.is_some());
    assert!(resolved(false, &[("HOME", "/h"), ("DOZEN_RUN", "/r")]).fallback.is_none());
    assert!(resolved(false, &[("HOME", "/h"), ("DOZEN_SERVER", "unix:/x")]).fallback.is_none());
}

#[test]
fn two_servers_have_different_short_names() {
    let ids = ["/a", "/b"].map(|home| resolved(true, &[("DOZEN_HOME", home)]).server_id());
    assert_ne!(ids[0], ids[1]);
    assert_eq!(ids[0].len(), 12);
}
