// Stands in for dex (https://dexidp.io) where its image cannot be had: an OpenID provider that reads the configuration
// of the chart's quick start, refuses what is not in dex's own format, and serves dex's paths, login form and claims.
// One person with a password, everything in memory, no approval screen; nothing else of dex.
package main

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v3"
	"golang.org/x/crypto/bcrypt"
)

// The part of dex's configuration that the quick start uses.
type config struct {
	Issuer string `yaml:"issuer"`
	Web    struct {
		HTTP string `yaml:"http"`
	} `yaml:"web"`
	Storage struct {
		Type string `yaml:"type"`
	} `yaml:"storage"`
	OAuth2 struct {
		SkipApprovalScreen bool `yaml:"skipApprovalScreen"`
	} `yaml:"oauth2"`
	EnablePasswordDB bool `yaml:"enablePasswordDB"`
	StaticPasswords  []struct {
		Email       string `yaml:"email"`
		Username    string `yaml:"username"`
		UserID      string `yaml:"userID"`
		HashFromEnv string `yaml:"hashFromEnv"`
	} `yaml:"staticPasswords"`
	StaticClients []client `yaml:"staticClients"`
}

type client struct {
	ID           string   `yaml:"id"`
	Name         string   `yaml:"name"`
	SecretEnv    string   `yaml:"secretEnv"`
	RedirectURIs []string `yaml:"redirectURIs"`
}

// What somebody asked for, and from then on what a code or a refresh token stands for.
type grant struct {
	client, redirect, state, nonce, challenge string
	scopes                                    []string
	person                                    int
	until                                     time.Time
}

type provider struct {
	config  config
	key     *rsa.PrivateKey
	mutex   sync.Mutex
	waiting map[string]grant
	codes   map[string]grant
	refresh map[string]grant
}

var (
	scopes = []string{"openid", "profile", "email", "groups", "offline_access"}
	form   = template.Must(template.New("").Parse(`<!doctype html><title>dex (stand-in)</title>
<h2>Log in to Your Account</h2>
<form method="post" action="{{.Action}}">
<label>Email Address <input required name="login" type="text" value="{{.Login}}"></label>
<label>Password <input required name="password" type="password"></label>
{{if .Invalid}}<p id="login-error">Invalid Email Address and password.</p>{{end}}
<button id="submit-login" type="submit">Login</button>
</form>
`))
)

func main() {
	if len(os.Args) != 3 || os.Args[1] != "serve" {
		log.Fatal("usage: dex serve CONFIG")
	}
	served, err := read(os.Args[2])
	if err != nil {
		log.Fatalf("error parse config file %s: %v", os.Args[2], err)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		log.Fatal(err)
	}
	p := &provider{config: served, key: key, waiting: map[string]grant{}, codes: map[string]grant{}, refresh: map[string]grant{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /keys", p.keys)
	mux.HandleFunc("GET /auth", p.authorize)
	mux.HandleFunc("GET /auth/local/login", p.login)
	mux.HandleFunc("POST /auth/local/login", p.login)
	mux.HandleFunc("POST /token", p.token)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "Health check passed") })
	log.Printf("stand-in for dex: listening on %s", served.Web.HTTP)
	log.Fatal(http.ListenAndServe(served.Web.HTTP, mux))
}

func read(path string) (c config, err error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return c, err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	decoder.KnownFields(true)
	if err = decoder.Decode(&c); err != nil {
		return c, err
	}
	if c.Issuer == "" || c.Web.HTTP == "" || c.Storage.Type != "memory" || !c.EnablePasswordDB || !c.OAuth2.SkipApprovalScreen {
		return c, errors.New("the stand-in needs issuer, web.http, storage memory, enablePasswordDB and skipApprovalScreen")
	}
	for _, person := range c.StaticPasswords {
		if _, err := bcrypt.Cost([]byte(os.Getenv(person.HashFromEnv))); err != nil {
			return c, fmt.Errorf("malformed bcrypt hash of %s in %s: %w", person.Email, person.HashFromEnv, err)
		}
	}
	for _, client := range c.StaticClients {
		if os.Getenv(client.SecretEnv) == "" {
			return c, fmt.Errorf("no secret of client %s in %s", client.ID, client.SecretEnv)
		}
	}
	return c, nil
}

func (p *provider) discovery(w http.ResponseWriter, _ *http.Request) {
	issuer := p.config.Issuer
	answer(w, http.StatusOK, map[string]any{
		"issuer": issuer, "authorization_endpoint": issuer + "/auth", "token_endpoint": issuer + "/token",
		"jwks_uri": issuer + "/keys", "scopes_supported": scopes, "response_types_supported": []string{"code"},
		"grant_types_supported":                 []string{"authorization_code", "refresh_token"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
		"code_challenge_methods_supported":      []string{"S256"},
		"token_endpoint_auth_methods_supported": []string{"client_secret_basic", "client_secret_post"},
	})
}

func (p *provider) keys(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"keys": []any{map[string]any{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1",
		"n": encode(p.key.N.Bytes()), "e": encode(big.NewInt(int64(p.key.E)).Bytes()),
	}}})
}

func (p *provider) authorize(w http.ResponseWriter, r *http.Request) {
	asked := r.URL.Query()
	redirect := asked.Get("redirect_uri")
	known := slices.ContainsFunc(p.config.StaticClients, func(c client) bool {
		return c.ID == asked.Get("client_id") && slices.Contains(c.RedirectURIs, redirect)
	})
	if !known {
		http.Error(w, "Unregistered client or redirect_uri", http.StatusBadRequest)
		return
	}
	g := grant{client: asked.Get("client_id"), redirect: redirect, state: asked.Get("state"), nonce: asked.Get("nonce"),
		challenge: asked.Get("code_challenge"), scopes: strings.Fields(asked.Get("scope")), until: time.Now().Add(time.Hour)}
	for _, scope := range g.scopes {
		if !slices.Contains(scopes, scope) {
			back(w, r, g, url.Values{"error": {"invalid_scope"}, "error_description": {"Unrecognized scope(s) " + scope}})
			return
		}
	}
	if asked.Get("response_type") != "code" || !slices.Contains(g.scopes, "openid") ||
		g.challenge != "" && asked.Get("code_challenge_method") != "S256" {
		back(w, r, g, url.Values{"error": {"invalid_request"}})
		return
	}
	http.Redirect(w, r, "/auth/local/login?"+url.Values{"back": {""}, "state": {p.keep(p.waiting, g)}}.Encode(), http.StatusFound)
}

func (p *provider) login(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("state")
	p.mutex.Lock()
	g, ok := p.waiting[id]
	p.mutex.Unlock()
	if !ok {
		http.Error(w, "User session error.", http.StatusBadRequest)
		return
	}
	login, invalid := "", false
	if r.Method == http.MethodPost {
		login = r.PostFormValue("login")
		for index, person := range p.config.StaticPasswords {
			hash := []byte(os.Getenv(person.HashFromEnv))
			if !strings.EqualFold(person.Email, login) || bcrypt.CompareHashAndPassword(hash, []byte(r.PostFormValue("password"))) != nil {
				continue
			}
			p.take(p.waiting, id)
			g.person, g.until = index, time.Now().Add(time.Minute)
			back(w, r, g, url.Values{"code": {p.keep(p.codes, g)}})
			return
		}
		invalid = true
		w.WriteHeader(http.StatusUnauthorized)
	}
	_ = form.Execute(w, map[string]any{"Action": r.URL.RequestURI(), "Login": login, "Invalid": invalid})
}

func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	id, secret, basic := r.BasicAuth()
	if basic {
		// RFC 6749, 2.3.1: both are form-encoded first.
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	authenticated := false
	for _, client := range p.config.StaticClients {
		authenticated = authenticated || client.ID == id &&
			subtle.ConstantTimeCompare([]byte(secret), []byte(os.Getenv(client.SecretEnv))) == 1
	}
	if !authenticated {
		answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client", "error_description": "Invalid client credentials."})
		return
	}
	var g grant
	ok := false
	switch r.PostFormValue("grant_type") {
	case "authorization_code":
		g, ok = p.take(p.codes, r.PostFormValue("code"))
		proof := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
		ok = ok && g.redirect == r.PostFormValue("redirect_uri") && (g.challenge == "" || g.challenge == encode(proof[:]))
	case "refresh_token":
		g, ok = p.take(p.refresh, r.PostFormValue("refresh_token"))
	default:
		answer(w, http.StatusBadRequest, map[string]any{"error": "unsupported_grant_type"})
		return
	}
	if !ok || g.client != id || time.Now().After(g.until) {
		answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant", "error_description": "Invalid or expired code or token."})
		return
	}
	p.issue(w, g)
}

func (p *provider) issue(w http.ResponseWriter, g grant) {
	const lasts = 24 * time.Hour
	person, now, access := p.config.StaticPasswords[g.person], time.Now(), rand.Text()
	half := sha256.Sum256([]byte(access))
	claims := map[string]any{
		"iss": p.config.Issuer, "aud": g.client, "iat": now.Unix(), "exp": now.Add(lasts).Unix(),
		"at_hash": encode(half[:16]), "sub": subject(person.UserID),
	}
	if g.nonce != "" {
		claims["nonce"] = g.nonce
	}
	if slices.Contains(g.scopes, "email") {
		claims["email"], claims["email_verified"] = person.Email, true
	}
	if slices.Contains(g.scopes, "profile") {
		claims["name"] = person.Username
	}
	body, err := json.Marshal(claims)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	signed := encode([]byte(`{"alg":"RS256","kid":"1"}`)) + "." + encode(body)
	digest := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, p.key, crypto.SHA256, digest[:])
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	tokens := map[string]any{"access_token": access, "token_type": "bearer", "expires_in": int(lasts.Seconds()),
		"id_token": signed + "." + encode(signature)}
	if slices.Contains(g.scopes, "offline_access") {
		g.until = now.Add(90 * lasts)
		tokens["refresh_token"] = p.keep(p.refresh, g)
	}
	answer(w, http.StatusOK, tokens)
}

// As dex makes it: a protocol buffer of the user's id and of the connector's.
func subject(user string) string {
	message := append([]byte{0x0a, byte(len(user))}, user...)
	return encode(append(append(message, 0x12, byte(len("local"))), "local"...))
}

func (p *provider) keep(place map[string]grant, g grant) string {
	id := rand.Text()
	p.mutex.Lock()
	defer p.mutex.Unlock()
	place[id] = g
	return id
}

func (p *provider) take(place map[string]grant, id string) (grant, bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	g, ok := place[id]
	delete(place, id)
	return g, ok
}

func back(w http.ResponseWriter, r *http.Request, g grant, values url.Values) {
	if g.state != "" {
		values.Set("state", g.state)
	}
	http.Redirect(w, r, g.redirect+"?"+values.Encode(), http.StatusSeeOther)
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}

func encode(content []byte) string { return base64.RawURLEncoding.EncodeToString(content) }
