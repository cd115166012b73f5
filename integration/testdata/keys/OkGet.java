import java.util.Collections;
import javax.net.ssl.*;
import okhttp3.*;

// Fetches a URL twice by OkHttp.
public class OkGet {
    public static void main(String[] args) throws Exception {
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, new TrustManager[] {new Get.Trusting()}, null);
        OkHttpClient client = new OkHttpClient.Builder().sslSocketFactory(context.getSocketFactory(), new Get.Trusting())
            .hostnameVerifier((h, s) -> true).protocols(Collections.singletonList(Protocol.HTTP_1_1)).build();
        for (int i = 0; i < 2; i++) client.newCall(new Request.Builder().url(args[0]).build()).execute().body().string();
        System.exit(0); // not after its idle threads
    }
}
