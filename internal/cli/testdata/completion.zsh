#compdef mintmark
_mintmark() {
  local i words_here="" path_here=""
  for ((i = 2; i < CURRENT; i++)); do
    case "${path_here:+$path_here }${words[i]}" in
      "app") path_here="app" ;;
      "app create") path_here="app create" ;;
      "app list") path_here="app list" ;;
      "app show") path_here="app show" ;;
      "app update") path_here="app update" ;;
      "app deactivate") path_here="app deactivate" ;;
      "app activate") path_here="app activate" ;;
      "app grant") path_here="app grant" ;;
      "app revoke") path_here="app revoke" ;;
      "app scopes") path_here="app scopes" ;;
      "app bucket") path_here="app bucket" ;;
      "app bucket add") path_here="app bucket add" ;;
      "app bucket list") path_here="app bucket list" ;;
      "app bucket remove") path_here="app bucket remove" ;;
      "app status") path_here="app status" ;;
      "app storage-key") path_here="app storage-key" ;;
      "app storage-key create") path_here="app storage-key create" ;;
      "app storage-key list") path_here="app storage-key list" ;;
      "app storage-key delete") path_here="app storage-key delete" ;;
      "client") path_here="client" ;;
      "client show") path_here="client show" ;;
      "client set") path_here="client set" ;;
      "scope") path_here="scope" ;;
      "scope type") path_here="scope type" ;;
      "scope type create") path_here="scope type create" ;;
      "scope type list") path_here="scope type list" ;;
      "scope type show") path_here="scope type show" ;;
      "scope type delete") path_here="scope type delete" ;;
      "scope create") path_here="scope create" ;;
      "scope list") path_here="scope list" ;;
      "scope show") path_here="scope show" ;;
      "scope delete") path_here="scope delete" ;;
      "team") path_here="team" ;;
      "team create") path_here="team create" ;;
      "team list") path_here="team list" ;;
      "team show") path_here="team show" ;;
      "user") path_here="user" ;;
      "user create") path_here="user create" ;;
      "user list") path_here="user list" ;;
      "user disable") path_here="user disable" ;;
      "user enable") path_here="user enable" ;;
      "user set-password") path_here="user set-password" ;;
      "user approvals") path_here="user approvals" ;;
      "user withdraw") path_here="user withdraw" ;;
      "bucket") path_here="bucket" ;;
      "bucket create") path_here="bucket create" ;;
      "bucket list") path_here="bucket list" ;;
      "bucket show") path_here="bucket show" ;;
      "rotate") path_here="rotate" ;;
      "key") path_here="key" ;;
      "key list") path_here="key list" ;;
      "key rotate") path_here="key rotate" ;;
      "key revoke") path_here="key revoke" ;;
      "token") path_here="token" ;;
      "token get") path_here="token get" ;;
      "token check") path_here="token check" ;;
      "token introspect") path_here="token introspect" ;;
      "token revoke") path_here="token revoke" ;;
      "agent") path_here="agent" ;;
      "completion") path_here="completion" ;;
      "audit") path_here="audit" ;;
      "audit list") path_here="audit list" ;;
      "audit checkpoint") path_here="audit checkpoint" ;;
    esac
  done
  case "$path_here" in
    "") words_here="agent app audit bucket client completion key rotate scope team token user --help --output --server --timeout --token-file" ;;
    "app") words_here="activate bucket create deactivate grant list revoke scopes show status storage-key update --help --output --server --timeout --token-file" ;;
    "app create") words_here="--criticality --description --documentation-url --help --incident-contact --name --output --public-client --scm-url --server --service-url --subtitle --support-url --team --timeout --token-file" ;;
    "app list") words_here="--active --help --output --search --server --team --timeout --token-file" ;;
    "app show") words_here="--help --output --server --timeout --token-file" ;;
    "app update") words_here="--criticality --description --documentation-url --help --incident-contact --name --output --scm-url --server --service-url --subtitle --support-url --team --timeout --token-file" ;;
    "app deactivate") words_here="--help --output --server --timeout --token-file" ;;
    "app activate") words_here="--help --output --server --timeout --token-file" ;;
    "app grant") words_here="--help --output --server --timeout --token-file" ;;
    "app revoke") words_here="--help --output --server --timeout --token-file" ;;
    "app scopes") words_here="--help --output --server --timeout --token-file" ;;
    "app bucket") words_here="add list remove --help --output --server --timeout --token-file" ;;
    "app bucket add") words_here="--help --output --server --timeout --token-file" ;;
    "app bucket list") words_here="--help --output --server --timeout --token-file" ;;
    "app bucket remove") words_here="--help --output --server --timeout --token-file" ;;
    "app status") words_here="--help --output --server --timeout --token-file" ;;
    "app storage-key") words_here="create delete list --help --output --server --timeout --token-file" ;;
    "app storage-key create") words_here="--file --help --output --server --timeout --token-file" ;;
    "app storage-key list") words_here="--help --output --server --timeout --token-file" ;;
    "app storage-key delete") words_here="--help --output --server --timeout --token-file" ;;
    "client") words_here="set show --help --output --server --timeout --token-file" ;;
    "client show") words_here="--help --output --server --timeout --token-file" ;;
    "client set") words_here="--grant --help --name --output --post-logout-redirect-uri --redirect-uri --refresh-tokens --server --timeout --token-file" ;;
    "scope") words_here="create delete list show type --help --output --server --timeout --token-file" ;;
    "scope type") words_here="create delete list show --help --output --server --timeout --token-file" ;;
    "scope type create") words_here="--description --help --name --output --owner-realm --server --team --timeout --token-file" ;;
    "scope type list") words_here="--help --output --server --timeout --token-file" ;;
    "scope type show") words_here="--help --output --server --timeout --token-file" ;;
    "scope type delete") words_here="--help --output --server --timeout --token-file" ;;
    "scope create") words_here="--by-owner --consent --criticality --description --help --output --server --summary --timeout --token-file" ;;
    "scope list") words_here="--help --output --server --timeout --token-file" ;;
    "scope show") words_here="--help --output --server --timeout --token-file" ;;
    "scope delete") words_here="--help --output --server --timeout --token-file" ;;
    "team") words_here="create list show --help --output --server --timeout --token-file" ;;
    "team create") words_here="--help --member --name --output --server --timeout --token-file" ;;
    "team list") words_here="--help --output --server --timeout --token-file" ;;
    "team show") words_here="--help --output --server --timeout --token-file" ;;
    "user") words_here="approvals create disable enable list set-password withdraw --help --output --server --timeout --token-file" ;;
    "user create") words_here="--admin --display-name --email --help --output --password-file --server --timeout --token-file --without-password" ;;
    "user list") words_here="--help --output --realm --server --timeout --token-file" ;;
    "user disable") words_here="--help --output --server --timeout --token-file" ;;
    "user enable") words_here="--help --output --server --timeout --token-file" ;;
    "user set-password") words_here="--help --output --password-file --server --timeout --token-file" ;;
    "user approvals") words_here="--help --output --server --timeout --token-file" ;;
    "user withdraw") words_here="--help --output --server --timeout --token-file" ;;
    "bucket") words_here="create list show --help --output --server --timeout --token-file" ;;
    "bucket create") words_here="--help --output --server --team --timeout --token-file" ;;
    "bucket list") words_here="--help --output --server --timeout --token-file" ;;
    "bucket show") words_here="--help --output --server --timeout --token-file" ;;
    "rotate") words_here="--help --kind --output --server --timeout --token-file --wait --wait-for" ;;
    "key") words_here="list revoke rotate --help --output --server --timeout --token-file" ;;
    "key list") words_here="--help --output --server --timeout --token-file" ;;
    "key rotate") words_here="--alg --emergency --help --output --server --timeout --token-file --yes" ;;
    "key revoke") words_here="--help --output --server --timeout --token-file --yes" ;;
    "token") words_here="check get introspect revoke --help --output --server --timeout --token-file" ;;
    "token get") words_here="--client-id --client-secret-file --credentials --help --output --password-file --realm --server --timeout --token-file --username" ;;
    "token check") words_here="--help --output --server --timeout --token-file" ;;
    "token introspect") words_here="--client-id --client-secret-file --credentials --help --output --password-file --server --timeout --token-file --username" ;;
    "token revoke") words_here="--client-id --client-secret-file --credentials --help --output --password-file --server --timeout --token-file --username" ;;
    "agent") words_here="--application --bucket --credentials-file --endpoint --file-mode --help --hook --hook-timeout --interval --listen --log --once --output --pid-file --profile --region --server --signal --timeout --token-file --wait" ;;
    "completion") words_here="bash zsh --help --output --server --timeout --token-file" ;;
    "audit") words_here="checkpoint list --help --output --server --timeout --token-file" ;;
    "audit list") words_here="--action --actor --follow --help --limit --outcome --output --request --server --target --timeout --token-file" ;;
    "audit checkpoint") words_here="--help --output --server --timeout --token-file" ;;
  esac
  compadd -- ${=words_here}
  _files
}
if [ "$funcstack[1]" = "_mintmark" ]; then
  _mintmark "$@"
else
  compdef _mintmark mintmark
fi
