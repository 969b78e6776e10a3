#!/usr/bin/env python3
"""
HolySheep Grayscale Router
Implements weighted traffic splitting for API relay versions
"""
import random
import requests
import time
from typing import Dict, List
class GrayscaleRouter:
    def __init__(self, api_key: str, config: Dict):
        self.base_url = "https://api.holysheep.ai/v1"
        self.api_key = api_key
        self.config = config
        self.traffic_split = config.get("traffic_split", {"stable": 100})
    def select_version(self) -> str:
        """Weighted random selection based on traffic split percentages"""
        rand = random.uniform(0, 100)
        cumulative = 0
        for version, percentage in self.traffic_split.items():
            cumulative += percentage
            if rand <= cumulative:
                return version
        return "stable"
    def make_request(self, model: str, messages: List[Dict], **kwargs) -> Dict:
        """Make a routed API request with automatic version selection"""
        version = self.select_version()
        headers = {
            "Authorization": f"Bearer {self.api_key}",
            "Content-Type": "application/json",
            "X-Relay-Version": version
        }
        payload = {
            "model": model,
            "messages": messages,
            **kwargs
        }
        start_time = time.time()
        try:
            response = requests.post(
                f"{self.base_url}/chat/completions",
                headers=headers,
                json=payload,
                timeout=30
            )
            elapsed_ms = (time.time() - start_time) * 1000
            return {
                "success": True,
                "version": version,
                "latency_ms": round(elapsed_ms, 2),
                "status_code": response.status_code,
                "data": response.json()
            }
        except requests.exceptions.Timeout:
            return {
                "success": False,
                "version": version,
                "error": "Request timeout",
                "latency_ms": (time.time() - start_time) * 1000
            }
        except Exception as e:
            return {
                "success": False,
                "version": version,
                "error": str(e),
                "latency_ms": (time.time() - start_time) * 1000
            }
# Example usage
if __name__ == "__main__":
    config = {
        "traffic_split": {
            "stable": 90, # 90% of traffic goes to stable
            "beta": 10 # 10% of traffic goes to beta
        }
    }
    router = GrayscaleRouter(
        api_key="YOUR_HOLYSHEEP_API_KEY",
        config=config
    )
    # Make 10 requests to see the distribution
    results = {"stable": 0, "beta": 0}
    for i in range(10):
        result = router.make_request(
            model="gpt-4.1",
            messages=[{"role": "user", "content": "Test request"}],
            temperature=0.7,
            max_tokens=50
        )
        version = result["version"]
        results[version] = results.get(version, 0) + 1
        print(f"Request {i+1}: {version} ({result['latency_ms']:.1f}ms)")
    print(f"\nDistribution: {results}")
    print(f"Expected ~90% stable, ~10% beta")
