"""Names of files that a box hides, and of ordinary ones that it must not hide, however alike."""

_KEYS = """
id_rsa id_dsa id_ecdsa_sk id_ed25519 deploy_id_rsa id_rsa.bak id_rsa.old id_rsa~ server.pem SERVER.PEM privkey1.pem
tls.key tls.key.bak tls.key.1 cert.p12 cert.pfx AuthKey_AB12.p8 store.jks debug.keystore vault.kdbx putty.ppk
office.ovpn krb5.keytab login.keychain-db
credentials.json Credentials.JSON credentials-prod.json my_credentials.json gcp-credentials.yaml credentials.csv
new_user_credentials.csv me_accessKeys.csv rootkey.csv credentials credentials.ini google_creds.json
application_default_credentials.json credentials.py
service_account.json service-account-prod.json serviceaccount.json my-service-account.json
shop-firebase-adminsdk-x1y2z-0123456789.json
client_secret.json client_secret_123-abc.apps.googleusercontent.com.json client-secrets.json
token.json tokens.json token_gmail.json token-store.json token.pickle hf_token github_token.txt token2.json oauth.json
secrets.toml secrets.yaml secrets.py secrets.txt secrets.prod.env secrets-prod.yaml secret.txt app_secret.json
netrc _netrc pgpass.conf prod.env local.env htpasswd users.htpasswd
terraform.tfstate terraform.tfstate.backup terraform.tfstate.1700000000.backup prod.tfvars prod.auto.tfvars
kubeconfig kubeconfig.yaml dev-kubeconfig.yml admin.kubeconfig
password.txt passwords.csv passwords.txt api_key.txt openai-api-key apikey.json api_keys.yaml secret_key.txt
private_key.txt kaggle.json rclone.conf wallet.dat logins.json key4.db vault_pass.txt dockerconfig.json
serviceAccountKey.json clientSecret.json accessTokens.json access_tokens.json sa-key.json id_rsa_work id_ed25519_github
id_rsa.txt ssh_host_ed25519_key prod.env.local env.production prod.tfvars.json terraform.tfstate.json kubeconfig-prod
pgpass wp-config.php #prod.env# #credentials.json# credentials.json___jb_tmp___ credentials.json.swp token.json.tmp
access-key.csv passwords.xlsx myToken.json appCredentials.json myApiKey.txt AppClientSecret.json userPassword.yml
GoogleServiceAccount.json chromePasswords.csv fetchAccessToken.txt id_rsaX
kernel-1b2c3d4e-0000-4abc-9def-001122334455.json kernel-4711.json jpserver-4711.json jpserver-4711-open.html
"""
KEYS = [
    *_KEYS.split(),
    "credentials (1).json",
    "id_rsa (1)",
    "id_rsa copy",
    "Copy of token.json",
    "Chrome Passwords.csv",
    "service account.json",
    "a\n.pem",
]

_ORDINARY = """
key.csv keys.parquet keys.json keyboard.txt monkey.json turkey.txt tokens.csv tokens.txt tokens.parquet tokenizer.json
tokenizer_config.json special_tokens_map.json added_tokens.json tokenized.json token.py token_utils.py
secretary.txt secretaries.json secret_santa.csv secret_garden.txt secret.csv trade_secrets.csv
password_strength.txt password.py passwordless.md passwords.parquet credit.csv credits.json credentialing.json
credentials.md credentials_report.csv test_credentials.py accounts.json service.json services.yaml account_service.py
customer_service_accounts.csv client.json clients.csv cert.crt ca.cer id_rsa.pub id_ed25519.pub valid_rsa.csv
id_rsa.md grid_rsa id.csv ids.json environment.yml env.py config.json settings.toml pyproject.toml package.json
train.csv data.json model.pickle model.pkl weights.safetensors notebook.ipynb kernel.json kernel-density.json
kernel-ridge.json README README.md Makefile LICENSE Dockerfile docker-compose.yml image.png report.pdf oauth.py
oauth_guide.txt kube.yaml wallet.csv cookies.csv history.txt apikey_docs.html main.tf state.json tf.csv netrc.md
webpack.env.js my.env.csv docs.env.md local.env.example env.yaml env.yml x.test.json app.test.js config.dev.json
env.json local.csv keyboardLayout.json monkeyTokens.csv
grid.asc points.1 archive.tar.gz data.csv.bak
"""
ORDINARY = [*_ORDINARY.split(), "My Keys.xlsx", "the token economy.pdf", "naïve.csv", "\udcff.csv", "", "~", "1", "."]
"""The last ones are odd, and of no file."""
