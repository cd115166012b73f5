import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.security.cert.X509Certificate;
import javax.net.ssl.*;

// Fetches a URL twice: new|old URL.
public class Get {
    static class Trusting extends X509ExtendedTrustManager {
        public void checkClientTrusted(X509Certificate[] c, String s) {}
        public void checkServerTrusted(X509Certificate[] c, String s) {}
        public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; }
        public void checkClientTrusted(X509Certificate[] c, String s, Socket k) {}
        public void checkServerTrusted(X509Certificate[] c, String s, Socket k) {}
        public void checkClientTrusted(X509Certificate[] c, String s, SSLEngine e) {}
        public void checkServerTrusted(X509Certificate[] c, String s, SSLEngine e) {}
    }

    public static void main(String[] args) throws Exception {
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, new TrustManager[] {new Trusting()}, null);
        for (int i = 0; i < 2; i++) {
            if (args[0].equals("old")) {
                HttpsURLConnection c = (HttpsURLConnection) URI.create(args[1]).toURL().openConnection();
                c.setSSLSocketFactory(context.getSocketFactory());
                c.setHostnameVerifier((h, s) -> true);
                c.getInputStream().readAllBytes();
            } else {
                HttpClient.newBuilder().sslContext(context).version(HttpClient.Version.HTTP_1_1).build()
                    .send(HttpRequest.newBuilder(URI.create(args[1])).build(), HttpResponse.BodyHandlers.ofString());
            }
        }
    }
}
